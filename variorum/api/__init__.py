"""What `import variorum as va` offers; the names are loaded when they are first used."""

"""The Python interface, `import variorum as va`; names are loaded when they are first used."""

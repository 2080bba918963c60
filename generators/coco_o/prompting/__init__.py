"""Write prompts for the domains of COCO-O."""

"""WHAT LEARNS: networks, transforms, local training, checkpoints, inference and scores.

It knows no key, no signature and no mailbox. The only room that imports torch and monai, and it imports nothing that can
sign or send. What it builds comes out of closed tables of names (a recipe is data); what it reads of a patient comes
through `fedmed.cases` alone; what leaves it is an array or a number, never a path or a name of the hospital's.
"""

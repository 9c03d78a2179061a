"""WHAT LEARNS: networks, transforms, local training, checkpoints, inference and scores.

It knows no key, no signature and no mailbox. The only room that imports torch and monai, and it imports nothing
that can sign or send. What it builds comes out of closed tables of names (a recipe is data); what it reads of a
patient comes through `fedmed.cases` alone; what leaves it is an array or a number, never a path or a name.
"""

import os

# Torch's threads wait for one another by spinning. On a computer that computes something else as well, each wait lasts
# until the other program is scheduled out: a step then took 3 to 10 times longer (30 times for tiny networks). The
# OpenMP library reads this when torch is loaded, which happens below this package only. A value already set is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""Cache, disk and device; and nothing to do yet."""

from __future__ import annotations

from fedmed.codes.code import DATA, RESOURCES, WAITING, Code

CODES: dict[str, Code] = {
    "FM-CAC-01": Code(
        DATA, "a cached case is damaged and is prepared again", "nothing; if it comes back, have the disk checked"
    ),
    "FM-CAC-02": Code(
        RESOURCES,
        "the cases of a round do not all fit into the cache, so some are prepared every time",
        "raise cache_gib in fedmed.yaml, if the disk has room",
    ),
    "FM-CAC-03": Code(
        RESOURCES,
        "the cache cannot be written to, so cases are prepared every time",
        "free some space on the workspace's disk, or check the permissions of cache/",
    ),
    # resources
    "FM-RES-01": Code(RESOURCES, "the disk is full", "free some space and run the command again"),
    "FM-RES-02": Code(
        RESOURCES, "the disk refused a write", "check the folder's permissions and run the command again"
    ),
    "FM-RES-03": Code(
        RESOURCES, "the device asked for is not there", "set device: auto in fedmed.yaml, or --device cpu"
    ),
    "FM-RES-04": Code(
        RESOURCES,
        "the device ran out of memory",
        "use --device cpu, or a smaller window_batch or batch_size in the recipe",
    ),
    "FM-RES-05": Code(
        RESOURCES, "the inbox folder is not there", "mount or make the folder that fedmed.yaml names as inbox"
    ),
    "FM-RES-06": Code(
        RESOURCES,
        "another computer has this workspace open, or did when it was copied or went away",
        "keep a workspace on a local disk of one computer; if the other one is gone, delete state/lock.json here",
    ),
    # nothing to do yet
    "FM-WAI-01": Code(
        WAITING,
        "another fedmed command works in this workspace",
        "wait until it ends and run the command again",
    ),
    "FM-WAI-02": Code(
        WAITING,
        "the file that is needed has not arrived",
        "put the file into inbox/ and run the command again",
    ),
    "FM-WAI-03": Code(
        WAITING,
        "the round waits for sites",
        "wait, or close the round without them: fedmed aggregate --close -w HERE",
    ),
    "FM-WAI-04": Code(WAITING, "the file is incomplete", "copy the file again"),
    "FM-WAI-05": Code(WAITING, "the file is early", "it is kept and used when its time comes"),
}

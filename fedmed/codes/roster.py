"""Trust in the roster: who agreed to what, whose keys are known, what a restored workspace goes on from."""

from __future__ import annotations

from fedmed.codes.code import TRUST, USAGE, WAITING, Code

CODES: dict[str, Code] = {
    "FM-ROS-01": Code(
        TRUST,
        "a model carries an approval that is not good",
        "call the coordinator: hospitals agreed to another federation than this one, or did not agree",
    ),
    "FM-ROS-02": Code(
        TRUST,
        "the fingerprint typed is not that of the site's join",
        "have it read again there (fedmed keys fingerprint); if it stays another, call the coordinator",
    ),
    "FM-ROS-03": Code(USAGE, "there is no other site of that name in the federation", "fedmed status"),
    "FM-ROS-04": Code(
        TRUST,
        "the key that signed was revoked, and this statement has a later number than its owner's last",
        "nothing: it counts nowhere; a site whose own key was revoked calls the coordinator",
    ),
    "FM-ROS-05": Code(
        TRUST,
        "the sender goes on from a backup, and nobody here has told it where it was",
        "fedmed recover --for NAME",
    ),
    "FM-ROS-06": Code(
        TRUST,
        "the file acknowledges what this workspace never signed, and its sender could not prove otherwise",
        "nothing: the file does not count; found a new federation if its sender goes on so",
    ),
    "FM-ROS-07": Code(
        WAITING,
        "this round was, or may have been, answered before the workspace was restored, and is not answered twice",
        "wait for the next model",
    ),
    "FM-ROS-08": Code(
        TRUST,
        "a receipt holds no statement that this workspace signed, or is not in its form",
        "ask its sender for another one: fedmed recover --for NAME",
    ),
    "FM-ROS-09": Code(
        TRUST,
        "this workspace signed a later model or federation than it has",
        "put a copy of the file that is named, from a site's inbox/ or archive/, into inbox/: fedmed recover -w HERE",
    ),
    "FM-ROS-10": Code(
        USAGE,
        "nothing is here that this name has signed, so there is nothing to tell it",
        "fedmed status",
    ),
    "FM-ROS-11": Code(
        TRUST,
        "the key of this workspace was revoked: what it signs counts nowhere",
        "call the coordinator, and keep this workspace as it is",
    ),
    "FM-ROS-12": Code(
        TRUST,
        "a key was replaced without its owner's word for it, or a rotation does not hold",
        "call the coordinator and the owner of the key: somebody put a key of his own in its place",
    ),
    "FM-ROS-13": Code(
        TRUST,
        "it was signed with a key that its owner has replaced",
        "ask its sender to run its command again: it signs with its key in force",
    ),
    "FM-ROS-14": Code(
        TRUST,
        "this workspace does not hold the key that it has changed to",
        "put the newest copy of keys/ back; if that key is lost, ask the coordinator for: fedmed keys revoke",
    ),
    "FM-ROS-15": Code(USAGE, "the federation is over, so no key of it is replaced any more", "nothing"),
}

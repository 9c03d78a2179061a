"""Attacks on files, on the roster and on time."""

from __future__ import annotations

from .attack import Attack, of, to_a_site, to_the_coordinator, vectors

SECOND, RECOVERED = "federation/test_fingerprints.py", "federation/test_recovered.py"
ROTATED = "federation/test_rotated.py"

ATTACKS = (
    Attack(
        "A3",
        "another roster in a second version of the federation (Sybils)",
        "FM-NRM-05",
        (
            *vectors("federation-version-2-another-roster"),
            *of(SECOND, "test_a_second_version_that_changes_anything_else_is_refused"),
        ),
    ),
    Attack(
        "A3",
        "a hospital's key swapped, with the approvals of before and whatever rotation is at hand",
        "FM-ROS-12",
        (
            *vectors("federation-key-without-a-rotation", "federation-rotation-replayed"),
            *of(
                ROTATED,
                "test_a_key_without_its_owners_word_is_refused",
                "test_a_rotation_of_another_site_moves_nothing",
                "test_a_rotation_that_another_site_signed_in_its_name_is_refused",
                "test_a_rotation_to_a_key_that_its_sender_does_not_hold_is_refused",
                "test_a_rotation_of_before_is_not_replayed",
                "test_a_revoked_key_vouches_for_nobody",
            ),
        ),
    ),
    Attack(
        "A3",
        "a revoked key goes on rotating, or goes over to the next key with a rotation of before",
        "FM-ROS-04, FM-ROS-12",
        (
            *of(
                ROTATED,
                "test_a_revoked_key_vouches_for_nobody",
                "test_a_rotation_from_before_the_theft_counts_no_more",
            ),
        ),
    ),
    Attack(
        "A3",
        "a rotation back to an earlier key, or to a key that another site names or has",
        "FM-ROS-12; the others go on",
        (
            *of(
                ROTATED,
                "test_a_site_that_goes_back_to_its_first_key_stops_nobody",
                "test_two_sites_do_not_get_one_key",
                "test_a_rotation_to_the_key_that_another_site_has_stops_nobody",
            ),
        ),
    ),
    Attack(
        "A3",
        "a key that its owner has replaced says more",
        "FM-ROS-13",
        (
            *of(
                ROTATED,
                "test_the_old_key_says_nothing_new_after_the_switch",
                "test_a_model_by_the_coordinators_old_key_is_refused_after_the_switch",
            ),
        ),
    ),
    Attack(
        "A9",
        "with an approval by a key that was replaced a number is used up, so that its owner seems to have signed two",
        "FM-ROS-13; an honest approval may come late",
        (
            *of(
                ROTATED,
                "test_an_old_key_takes_no_number_from_its_owner",
                "test_an_approval_by_the_key_of_then_may_come_late",
            ),
        ),
    ),
    Attack(
        "A3",
        "two statements of one federation version",
        "FM-TRU-03",
        (
            *to_a_site("another statement of version 1"),
            *of(SECOND, "test_two_second_versions_are_equivocation"),
        ),
    ),
    Attack(
        "A3",
        "a usurper's federation, or one with another key for the victim",
        "FM-TRU-01, FM-TRU-09",
        (
            *of(
                "federation/test_founding.py",
                "test_only_the_fingerprint_of_the_federation_is_consent",
                "test_a_usurpers_federation_needs_its_own_fingerprint",
                "test_a_federation_with_another_key_for_this_site_is_not_approved",
            ),
        ),
    ),
    Attack(
        "A3",
        "approvals that the coordinator made up, borrowed, repeated, or took from another federation",
        "FM-ROS-01",
        (
            *to_a_site("approved by a stranger", "approved in the name of another"),
            *vectors(
                "model-approval-twice",
                "model-approval-of-a-stranger",
                "model-approval-with-another-signature",
                "model-approval-of-another-federation",
            ),
        ),
    ),
    Attack(
        "A3",
        "a peer confirmed by another fingerprint, or with another key or join since",
        "FM-ROS-02",
        (
            *of(
                "federation/test_pins.py",
                "test_only_the_whole_fingerprint_of_that_site_pins_it",
                "test_another_key_or_join_under_the_same_name_is_not_the_one_that_was_pinned",
            ),
        ),
    ),
    Attack(
        "A3",
        "a stolen key goes on signing after it was taken back, or somebody else takes keys back",
        "FM-ROS-04; what its owner signed before stays valid",
        (
            *of(
                "federation/test_revoked.py",
                "test_a_round_goes_on_without_a_revoked_site",
                "test_what_the_owner_signed_before_stays_valid",
                "test_an_approval_that_a_thief_signed_counts_in_no_order",
                "test_only_the_coordinator_takes_keys_back_and_only_those_of_the_roster",
            ),
        ),
    ),
    Attack(
        "A8",
        "a statement dated 2099, from either side",
        "FM-TIM-02",
        (
            *to_a_site("signed in 2099"),
            *to_the_coordinator("signed in 2099"),
            *of("federation/test_lies_to_a_site.py", "test_a_model_dated_in_the_future_does_not_brick_the_site"),
            *of(
                "federation/test_lies_to_the_coordinator.py",
                "test_a_future_statement_moves_no_clock_and_is_accepted_when_its_time_comes",
            ),
        ),
    ),
    Attack(
        "A9",
        "honest sticks: 7 before 6, gaps in `seq`",
        "taken",
        (
            *of("federation/test_lies_to_a_site.py", "test_a_stick_may_lose_a_model_and_bring_it_later"),
            *of("exchange/test_admission.py", "test_numbers_may_have_gaps_and_no_forks"),
        ),
    ),
    Attack(
        "A9",
        "a site or a coordinator that was restored from a backup goes on",
        "FM-TRU-06, FM-TRU-05, FM-TRU-03",
        (
            *of(
                "federation/test_lies_to_a_site.py",
                "test_a_restored_site_stops",
                "test_a_coordinator_that_forgets_what_it_had_is_held",
                "test_a_restored_coordinator_that_signs_a_round_again_is_a_conflict",
            ),
            *of(
                "federation/test_lies_to_the_coordinator.py",
                "test_a_restored_hospital_is_held",
                "test_a_restored_hospital_that_signs_a_number_again_is_a_conflict",
                "test_a_restored_coordinator_stops",
            ),
        ),
    ),
    Attack(
        "A9",
        "a receipt that this workspace did not sign, or that is somebody else's; one end that goes on alone",
        "FM-ROS-08, FM-ROS-05",
        (
            *of(
                RECOVERED,
                "test_a_receipt_proves_nothing_that_this_workspace_did_not_sign",
                "test_a_receipt_to_somebody_else_is_no_proof",
                "test_going_on_needs_an_operator_at_both_ends",
            ),
        ),
    ),
    Attack(
        "A9",
        "an acknowledgement of what was never signed, to stop an honest site for good",
        "FM-TRU-06 until a person ends it, FM-ROS-06",
        (*of(RECOVERED, "test_an_invented_acknowledgement_stops_and_a_person_ends_it"),),
    ),
    Attack(
        "A10",
        "a payload called statement.json, con, aux.txt, or with a newline in its name",
        "FM-FRM-03",
        (
            *vectors(
                "update-payload-named-statement.json",
                "update-payload-named-con",
                "update-payload-named-aux.txt",
                "update-payload-named-newline",
            ),
            *to_the_coordinator("payload named statement.json"),
        ),
    ),
    Attack(
        "A11",
        "a recipe that asks for CKKS; objects or code in what is received",
        "FM-RCP-03; no function of fedmed reads objects, code or CKKS contexts",
        (
            *of("test_recipes.py", "test_what_masks_would_hide_from_a_recipe_that_needs_it_is_refused"),
            *of("test_gate.py", "test_no_file_does_any_of_it"),
        ),
    ),
    Attack(
        "B8",
        "an armour with text behind it, or in another form; a signature for a login or another kind",
        "FM-SIG-02, FM-SIG-04, FM-SIG-05",
        (
            *vectors(
                "update-armour-text-after-end",
                "update-armour-76-columns",
                "update-armour-crlf",
                "update-signature-of-a-login",
                "update-under-the-namespace-of-report",
            ),
            *of("exchange/test_sshsig.py", "test_ssh_keygen_tolerates_an_armour_that_we_refuse"),
        ),
    ),
    Attack(
        "B9",
        "`subject` and `predicate` that disagree",
        "FM-FRM-03",
        (
            *vectors(
                "update-subject-of-other-name",
                "update-payload-not-listed",
                "update-no-subject",
                "approval-other-federation-in-subject",
                "report-other-model-than-its-subject",
            ),
        ),
    ),
    Attack(
        "B15",
        "links, pipes, folders and files that change while they are read",
        "not opened; taken as they were judged, or not at all",
        (
            *of(
                "exchange/test_intake.py",
                "test_links_pipes_and_folders_are_refused_and_not_opened",
                "test_a_file_that_changes_after_it_was_judged_is_not_taken",
                "test_a_file_that_is_replaced_or_deleted_is_taken_as_it_was_judged",
            ),
        ),
    ),
    Attack(
        "B15",
        "characters that forge a line, depths and encodings of JSON",
        "FM-FRM-02",
        (
            *vectors(
                "approval-json-right-to-left-mark",
                "approval-json-control-character",
                "approval-json-lone-surrogate",
                "approval-json-depth-17",
            ),
        ),
    ),
)

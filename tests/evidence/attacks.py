"""Every attack of the security review, by the number that it has there, with the tests that run it and how it ends."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CODE = re.compile(r"FM-[A-Z]{3}-\d{2}")


@dataclass(frozen=True)
class Attack:
    """`ends`: the code that refuses it, or what is left of it in words. `tests` are named from tests/ on."""

    number: str
    tried: str
    ends: str
    tests: tuple[str, ...]

    @property
    def codes(self) -> list[str]:
        return CODE.findall(self.ends)


def _core(*names: str) -> tuple[str, ...]:
    return tuple(f"federation/test_masked_core.py::{name}" for name in names)


def _certificates(*names: str) -> tuple[str, ...]:
    return tuple(f"exchange/test_certificates.py::{name}" for name in names)


def _vectors(*names: str) -> tuple[str, ...]:
    return tuple(f"vectors/test_vectors.py::test_each_vector_ends_as_it_says[{name}.fedmed]" for name in names)


def _to_a_site(*names: str) -> tuple[str, ...]:
    return tuple(f"federation/test_lies_to_a_site.py::{name}" for name in names)


def _to_the_coordinator(*names: str) -> tuple[str, ...]:
    return tuple(f"federation/test_lies_to_the_coordinator.py::{name}" for name in names)


def _recovered(*names: str) -> tuple[str, ...]:
    return tuple(f"federation/test_recovered.py::{name}" for name in names)


LIE_TO_A_SITE = "test_a_lie_has_its_own_end_and_the_honest_model_is_still_taken"
LIE_TO_THE_COORDINATOR = "test_a_lie_has_its_own_end_and_the_round_goes_on"

ATTACKS = (
    Attack(
        "A1",
        "slot swap: the coordinator hands a victim's bundle out as a colluder's",
        "FM-SHR-08; signed by the colluder as its own it opens no share; without the binding one update comes out",
        _core(
            "test_a_bundle_in_another_sites_slot_is_refused",
            "test_a_colluder_who_signs_a_peers_bundle_as_its_own_gets_no_share_opened",
            "test_without_the_binding_the_slot_swap_opens_one_update",
        ),
    ),
    Attack("A1", "one bundle in two slots", "FM-SHR-10", _core("test_the_same_bundle_twice_is_refused")),
    Attack(
        "A1",
        "bundles of another round or attempt",
        "no share is opened",
        _core("test_a_bundle_of_another_round_or_attempt_is_refused"),
    ),
    Attack(
        "A2",
        "the coordinator lists a mask key of its own for a site",
        "FM-SHR-01",
        _certificates("test_a_key_that_the_coordinator_made_up_is_refused", "test_every_field_is_signed"),
    ),
    Attack(
        "A2",
        "a site registers a peer's mask key as its own",
        "FM-SHR-01, FM-SHR-02",
        _certificates("test_a_peers_certificate_is_nobody_elses", "test_exactly_one_of_each_site_by_name"),
    ),
    Attack(
        "A2",
        "a certificate of another federation or for another purpose",
        "FM-SHR-01",
        _certificates(
            "test_a_certificate_of_another_federation_is_refused", "test_a_signature_for_another_purpose_is_refused"
        ),
    ),
    Attack(
        "A2",
        "a peer is rolled back to a stolen key",
        "FM-SHR-04",
        _certificates("test_a_peer_is_not_rolled_back_to_a_key_that_was_stolen_since"),
    ),
    Attack(
        "A2",
        "a certificate of this site whose private half it does not hold",
        "FM-SHR-03",
        _certificates("test_the_own_entry_is_one_whose_private_half_is_held"),
    ),
    Attack(
        "A2",
        "a mask key that gives the same secret to all",
        "FM-SHR-05",
        _certificates("test_a_key_that_gives_the_same_secret_to_all_is_refused"),
    ),
    Attack(
        "A3",
        "another roster in a second version of the federation (Sybils)",
        "FM-NRM-05",
        (
            *_vectors("federation-version-2-another-roster"),
            "federation/test_fingerprints.py::test_a_second_version_that_changes_anything_else_is_refused",
        ),
    ),
    Attack(
        "A3",
        "two statements of one federation version",
        "FM-TRU-03",
        (
            *_to_a_site(f"{LIE_TO_A_SITE}[another statement of version 1]"),
            "federation/test_fingerprints.py::test_two_second_versions_are_equivocation",
        ),
    ),
    Attack(
        "A3",
        "a usurper's federation, or one with another key for the victim",
        "FM-TRU-01, FM-TRU-09",
        (
            "federation/test_founding.py::test_only_the_fingerprint_of_the_federation_is_consent",
            "federation/test_founding.py::test_a_usurpers_federation_needs_its_own_fingerprint",
            "federation/test_founding.py::test_a_federation_with_another_key_for_this_site_is_not_approved",
        ),
    ),
    Attack(
        "A3",
        "approvals that the coordinator made up, borrowed, repeated, or took from another federation",
        "FM-ROS-01",
        (
            *_to_a_site(
                f"{LIE_TO_A_SITE}[approved by a stranger]", f"{LIE_TO_A_SITE}[approved in the name of another]"
            ),
            *_vectors(
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
            "federation/test_pins.py::test_only_the_whole_fingerprint_of_that_site_pins_it",
            "federation/test_pins.py::test_another_key_or_join_under_the_same_name_is_not_the_one_that_was_pinned",
        ),
    ),
    Attack(
        "A4",
        "numbers of sites and colluders that protect nobody",
        "FM-SHR-06; one below the threshold the difference of two sums is one update",
        (
            "learning/test_masking.py::test_numbers_that_protect_nobody_are_refused",
            "learning/test_masking.py::test_no_two_sets_of_sites_are_both_answered",
            *_core("test_with_a_lower_threshold_two_sets_are_both_answered"),
        ),
    ),
    Attack(
        "A5",
        "a mask key is erased that a lost update's round still needs, or kept for ever",
        "kept until nothing needs it, then overwritten",
        _certificates("test_keys_are_erased_when_nothing_needs_them", "test_what_is_erased_is_overwritten_first"),
    ),
    Attack(
        "A8",
        "a statement dated 2099, from either side",
        "FM-TIM-02",
        (
            *_to_a_site(f"{LIE_TO_A_SITE}[signed in 2099]", "test_a_model_dated_in_the_future_does_not_brick_the_site"),
            *_to_the_coordinator(
                f"{LIE_TO_THE_COORDINATOR}[signed in 2099]",
                "test_a_future_statement_moves_no_clock_and_is_accepted_when_its_time_comes",
            ),
        ),
    ),
    Attack(
        "A9",
        "honest sticks: 7 before 6, gaps in `seq`",
        "taken",
        (
            *_to_a_site("test_a_stick_may_lose_a_model_and_bring_it_later"),
            "exchange/test_admission.py::test_numbers_may_have_gaps_and_no_forks",
        ),
    ),
    Attack(
        "A9",
        "a site or a coordinator that was restored from a backup goes on",
        "FM-TRU-06, FM-TRU-05, FM-TRU-03",
        (
            *_to_a_site(
                "test_a_restored_site_stops",
                "test_a_coordinator_that_forgets_what_it_had_is_held",
                "test_a_restored_coordinator_that_signs_a_round_again_is_a_conflict",
            ),
            *_to_the_coordinator(
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
        _recovered(
            "test_a_receipt_proves_nothing_that_this_workspace_did_not_sign",
            "test_a_receipt_to_somebody_else_is_no_proof",
            "test_going_on_needs_an_operator_at_both_ends",
        ),
    ),
    Attack(
        "A9",
        "an acknowledgement of what was never signed, to stop an honest site for good",
        "FM-TRU-06 until a person ends it, FM-ROS-06",
        _recovered("test_an_invented_acknowledgement_stops_and_a_person_ends_it"),
    ),
    Attack(
        "A10",
        "a payload called statement.json, con, aux.txt, or with a newline in its name",
        "FM-FRM-03",
        (
            *_vectors(
                "update-payload-named-statement.json",
                "update-payload-named-con",
                "update-payload-named-aux.txt",
                "update-payload-named-newline",
            ),
            *_to_the_coordinator(f"{LIE_TO_THE_COORDINATOR}[payload named statement.json]"),
        ),
    ),
    Attack(
        "A11",
        "a recipe that asks for CKKS; objects or code in what is received",
        "FM-RCP-03; no function of fedmed reads objects, code or CKKS contexts",
        (
            "test_recipes.py::test_what_masks_would_hide_from_a_recipe_that_needs_it_is_refused",
            "test_gate.py::test_no_file_does_any_of_it",
        ),
    ),
    Attack(
        "B1",
        "a virtual machine that repeats its random numbers",
        "another seed for another vector",
        (
            "exchange/test_seeds.py::test_a_self_seed_is_never_the_same_twice",
            "exchange/test_seeds.py::test_a_machine_that_repeats_its_random_numbers_still_gets_another_seed",
        ),
    ),
    Attack(
        "B2",
        "a bad share, by its holder or by its dealer; a bundle that does not open",
        "holder or dealer named by a proof that others can check; two named where no more can be known",
        _core(
            "test_a_holder_who_replies_another_share_is_named_and_the_others_are_enough",
            "test_a_dealer_who_shared_another_seed_is_named",
            "test_nobody_is_named_for_what_the_files_do_not_show",
            "test_a_bundle_that_does_not_open_is_a_complaint_that_names_two",
        ),
    ),
    Attack(
        "B2",
        "pairs of sites that do not agree on their seed",
        "the fewest are left out, before the set is fixed",
        _core("test_whoever_answered_another_model_is_a_mismatch_with_everyone"),
    ),
    Attack(
        "B4",
        "a vector outside of the clip, or a number of cases that no sites have",
        "FM-SHR-12",
        (
            "learning/test_masking.py::test_a_number_of_cases_that_no_sites_have_is_refused",
            "learning/test_masking.py::test_a_sum_beyond_what_honest_updates_give_is_refused",
            "learning/test_masking.py::test_a_mean_longer_than_the_clip_is_refused",
            "learning/test_masking.py::test_with_a_mask_left_on_the_sum_is_refused",
        ),
    ),
    Attack(
        "B5",
        "a recipe under masking in which some coordinates are of one hospital, or which needs single updates",
        "FM-RCP-03",
        (
            "test_recipes.py::test_what_masks_would_hide_from_a_recipe_that_needs_it_is_refused",
            "test_recipes.py::test_layers_that_stay_at_the_sites_cannot_be_masked",
        ),
    ),
    Attack(
        "B6",
        "names that run into each other in what is hashed; two recipes under one context",
        "no two inputs are read as one",
        (
            "exchange/test_seeds.py::test_no_two_inputs_are_read_as_one",
            "exchange/test_seeds.py::test_the_context_is_the_models_id",
        ),
    ),
    Attack(
        "B7",
        "another suite of HPKE at another site",
        "one suite, which a second program opens",
        ("exchange/test_seeds.py::test_a_bundle_opens_with_the_second_program",),
    ),
    Attack(
        "B8",
        "an armour with text behind it, or in another form; a signature for a login or another kind",
        "FM-SIG-02, FM-SIG-04, FM-SIG-05",
        (
            *_vectors(
                "update-armour-text-after-end",
                "update-armour-76-columns",
                "update-armour-crlf",
                "update-signature-of-a-login",
                "update-under-the-namespace-of-report",
            ),
            "exchange/test_sshsig.py::test_ssh_keygen_tolerates_an_armour_that_we_refuse",
        ),
    ),
    Attack(
        "B9",
        "`subject` and `predicate` that disagree",
        "FM-FRM-03",
        _vectors(
            "update-subject-of-other-name",
            "update-payload-not-listed",
            "update-no-subject",
            "approval-other-federation-in-subject",
            "report-other-model-than-its-subject",
        ),
    ),
    Attack(
        "B11",
        "a site that was restored answers a round a second time",
        "FM-ROS-07; its mask keys of before are gone, and are no part of a backup",
        (
            *_recovered("test_an_answered_round_is_not_answered_again", "test_mask_keys_of_before_are_thrown_away"),
            *_certificates("test_keys_are_the_owners_alone_and_no_part_of_a_backup"),
        ),
    ),
    Attack(
        "B12",
        "a recipe with DP in which something tells more of patients than the noise covers",
        "FM-RCP-03",
        (
            "test_recipes.py::test_what_tells_more_of_patients_than_the_noise_covers_is_refused",
            "test_recipes.py::test_all_that_dp_excludes_is_named_at_once",
        ),
    ),
    Attack(
        "B15",
        "links, pipes, folders and files that change while they are read",
        "not opened; taken as they were judged, or not at all",
        (
            "exchange/test_intake.py::test_links_pipes_and_folders_are_refused_and_not_opened",
            "exchange/test_intake.py::test_a_file_that_changes_after_it_was_judged_is_not_taken",
            "exchange/test_intake.py::test_a_file_that_is_replaced_or_deleted_is_taken_as_it_was_judged",
        ),
    ),
    Attack(
        "B15",
        "characters that forge a line, depths and encodings of JSON",
        "FM-FRM-02",
        _vectors(
            "approval-json-right-to-left-mark",
            "approval-json-control-character",
            "approval-json-lone-surrogate",
            "approval-json-depth-17",
        ),
    ),
    Attack(
        "C1",
        "a model that the sum does not give, or seeds that no site committed to, in the archive",
        "FM-SHR-11, FM-SHR-14",
        (
            "auditor/test_masked.py::test_another_model_than_the_sum_gives_is_found",
            "auditor/test_masked.py::test_seeds_that_no_site_committed_to_are_found",
            "auditor/test_masked.py::test_a_model_that_leaves_an_update_out_of_its_parents_is_found",
            "auditor/test_masked.py::test_a_model_that_says_updates_came_plain_is_found",
        ),
    ),
)


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a file, by name; none where there is no such file."""
    file = TESTS / path
    tree = ast.parse(file.read_text("utf-8")) if file.exists() else ast.Module([], [])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def missing() -> list[str]:
    """Tests that the table names and that do not exist."""
    named = [test for attack in ATTACKS for test in attack.tests]
    return [test for test in named if test.split("::")[1].partition("[")[0] not in functions(test.split("::")[0])]

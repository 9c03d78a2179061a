"""Attacks on secure aggregation."""

from __future__ import annotations

from .attack import Attack, of

CORE, LIES = "federation/test_masked_core.py", "federation/test_masked_lies.py"
CONDITIONS, CULPRITS = "federation/test_masked_conditions.py", "federation/test_masked_culprits.py"
CERTIFICATES, FOUNDING = "exchange/test_certificates.py", "federation/test_founding.py"

ATTACKS = (
    Attack(
        "A1",
        "slot swap: the coordinator hands a victim's bundle out as a colluder's",
        "FM-SHR-08; signed by the colluder as its own it opens no share; without the binding one update comes out",
        (
            *of(
                CORE,
                "test_a_bundle_in_another_sites_slot_is_refused",
                "test_a_colluder_who_signs_a_peers_bundle_as_its_own_gets_no_share_opened",
                "test_without_the_binding_the_slot_swap_opens_one_update",
            ),
            *of(LIES, "test_shares_of_one_site_are_not_given_out_as_those_of_another"),
        ),
    ),
    Attack(
        "A1",
        "one bundle in two slots, or one site twice",
        "FM-SHR-10, FM-MSK-08, FM-FRM-03",
        (
            *of(CORE, "test_the_same_bundle_twice_is_refused"),
            *of(
                LIES,
                "test_shares_of_one_site_are_not_given_out_as_those_of_another",
                "test_a_site_that_stands_twice_is_no_request",
            ),
        ),
    ),
    Attack(
        "A1",
        "bundles of another round or attempt; a request about another model",
        "no share is opened; FM-MSK-10",
        (
            *of(CORE, "test_a_bundle_of_another_round_or_attempt_is_refused"),
            *of(LIES, "test_a_request_about_another_model_is_none"),
        ),
    ),
    Attack(
        "A1",
        "an update that its site did not sign, or that stands under another name",
        "FM-MSK-08",
        (
            *of(
                LIES,
                "test_an_update_that_its_site_did_not_sign_is_foreign",
                "test_an_update_under_another_name_is_foreign",
            ),
        ),
    ),
    Attack(
        "A2",
        "the coordinator lists a mask key of its own for a site",
        "FM-SHR-01",
        (
            *of(CERTIFICATES, "test_a_key_that_the_coordinator_made_up_is_refused", "test_every_field_is_signed"),
            *of(CONDITIONS, "test_a_mask_key_that_its_site_did_not_sign_is_found_before_training"),
        ),
    ),
    Attack(
        "A2",
        "a site registers a peer's mask key as its own",
        "FM-SHR-01, FM-SHR-02",
        (
            *of(CERTIFICATES, "test_a_peers_certificate_is_nobody_elses", "test_exactly_one_of_each_site_by_name"),
            *of(CONDITIONS, "test_an_update_whose_next_key_another_site_signed_is_refused"),
        ),
    ),
    Attack(
        "A2",
        "a certificate of another federation or for another purpose",
        "FM-SHR-01",
        (
            *of(
                CERTIFICATES,
                "test_a_certificate_of_another_federation_is_refused",
                "test_a_signature_for_another_purpose_is_refused",
            ),
        ),
    ),
    Attack(
        "A2",
        "a peer is rolled back to a stolen key",
        "FM-SHR-04",
        (*of(CERTIFICATES, "test_a_peer_is_not_rolled_back_to_a_key_that_was_stolen_since"),),
    ),
    Attack(
        "A2",
        "a certificate of this site whose private half it does not hold; a list that is not of all sites",
        "FM-SHR-03, FM-MSK-03",
        (
            *of(CERTIFICATES, "test_the_own_entry_is_one_whose_private_half_is_held"),
            *of(CONDITIONS, "test_a_model_lists_the_masks_of_all_or_is_refused"),
        ),
    ),
    Attack(
        "A2",
        "a mask key that gives the same secret to all",
        "FM-SHR-05",
        (*of(CERTIFICATES, "test_a_key_that_gives_the_same_secret_to_all_is_refused"),),
    ),
    Attack(
        "A2",
        "a join, an update or a rotation with one key for both purposes, or with a point of small order",
        "FM-SHR-02, FM-SHR-05; refused where it arrives, so that it stops nobody later",
        (
            *of(CERTIFICATES, "test_bad_keys_are_refused_where_a_certificate_arrives"),
            *of(FOUNDING, "test_a_join_with_mask_keys_that_no_model_could_list_is_not_admitted"),
        ),
    ),
    Attack(
        "A2",
        "a join or a rotation with copied mask keys, or with an older certificate",
        "FM-SHR-02, FM-SHR-01 for a join; a rotation is not taken into a version, and the round goes on",
        (
            *of(
                FOUNDING,
                "test_a_join_with_mask_keys_that_no_model_could_list_is_not_admitted",
                "test_a_join_with_a_certificate_that_its_key_did_not_sign_is_not_admitted",
            ),
            *of(
                "federation/test_rotated_payloads.py",
                "test_a_rotation_with_mask_keys_that_cannot_be_listed_stops_nobody",
            ),
        ),
    ),
    Attack(
        "A3",
        "Sybils: a site masks though not all have approved, or among sites that nobody called",
        "FM-MSK-01, FM-MSK-02",
        (
            *of(
                CONDITIONS,
                "test_a_site_masks_only_when_all_have_approved",
                "test_a_site_masks_only_among_those_that_it_has_called",
                "test_the_first_model_waits_for_the_approvals_of_all",
            ),
        ),
    ),
    Attack(
        "A4",
        "numbers of sites and colluders that protect nobody",
        "FM-SHR-06; one below the threshold the difference of two sums is one update",
        (
            *of(
                "learning/test_masking.py",
                "test_numbers_that_protect_nobody_are_refused",
                "test_no_two_sets_of_sites_are_both_answered",
            ),
            *of(CORE, "test_with_a_lower_threshold_two_sets_are_both_answered"),
            *of(CONDITIONS, "test_two_sites_cannot_mask"),
        ),
    ),
    Attack(
        "A4",
        "a request about too few sites, or by which a site outside of the sum reveals something",
        "FM-MSK-11, FM-SHR-10",
        (
            *of(LIES, "test_too_few_sites_are_no_sum", "test_who_is_not_in_the_sum_reveals_nothing"),
            *of(CORE, "test_requests_that_would_open_too_little_are_refused"),
        ),
    ),
    Attack(
        "A5",
        "void, then shrink: the sum is had, called void, and asked for again without the victim",
        "FM-MSK-12; or FM-MSK-09 in one attempt",
        (
            *of(
                LIES,
                "test_void_then_shrink_is_refused",
                "test_one_set_of_sites_is_answered_in_an_attempt_and_no_other",
                "test_an_operator_may_consent_to_another_set_and_it_stays_in_the_ledger",
            ),
            *of(CULPRITS, "test_without_the_proof_a_smaller_set_is_refused"),
        ),
    ),
    Attack(
        "A5",
        "a colluder signs two updates in one attempt, and an honest holder seems to have spoiled the sum",
        "FM-MSK-19; without the check the honest site is left out, and the difference of two sums is its update",
        (
            *of(
                CULPRITS,
                "test_a_second_update_of_a_colluder_frames_no_honest_holder",
                "test_replies_about_one_update_prove_nothing_of_another",
                "test_without_these_checks_the_honest_holder_is_framed",
            ),
        ),
    ),
    Attack(
        "A5",
        "the victim's update is called late",
        "in no sum, and nobody reveals shares of its own mask",
        (
            *of(
                LIES,
                "test_a_site_is_not_asked_about_a_late_update_of_its_own",
                "test_a_request_for_a_closed_round_is_answered_only_as_before",
            ),
        ),
    ),
    Attack(
        "A5",
        "a lost update, then the next round; a retry",
        "the key is still there; what was trained is masked again",
        (
            *of(
                LIES,
                "test_a_lost_update_locks_nobody_out",
                "test_another_attempt_about_the_same_sites_is_answered_and_masks_what_was_trained",
            ),
            *of(CULPRITS, "test_keys_go_when_nothing_needs_them_any_more"),
            *of(
                CERTIFICATES, "test_keys_are_erased_when_nothing_needs_them", "test_what_is_erased_is_overwritten_first"
            ),
        ),
    ),
    Attack(
        "A5",
        "the set changes by few sites between two rounds",
        "warned of, or FM-MSK-13 by the recipe",
        (*of(CONDITIONS, "test_a_site_that_comes_or_goes_between_two_sums_is_told_of"),),
    ),
    Attack(
        "B1",
        "killed at every stage: two masked updates of one round",
        "FM-MSK-04, FM-MSK-16; there is one in the end",
        (
            *of(LIES, "test_a_site_masks_once_in_an_attempt", "test_a_second_masked_update_is_refused_at_the_door"),
            *of("kills/test_kills.py", "test_killed_and_on_a_bad_disk[train-local, masked]"),
        ),
    ),
    Attack(
        "B1",
        "a site whose own key was revoked forgets what it sealed: masked again, it would be a second update",
        "FM-ROS-11; the update of before is sent again, and no share is revealed",
        (*of(CONDITIONS, "test_a_site_whose_key_was_revoked_masks_no_second_update_and_answers_nothing"),),
    ),
    Attack(
        "B1",
        "a virtual machine that repeats its random numbers",
        "another seed for another vector",
        (
            *of(
                "exchange/test_seeds.py",
                "test_a_self_seed_is_never_the_same_twice",
                "test_a_machine_that_repeats_its_random_numbers_still_gets_another_seed",
            ),
        ),
    ),
    Attack(
        "B2",
        "a bad share, by its holder or by its dealer; a bundle that does not open",
        "holder or dealer named by a proof that others can check; two named where no more can be known",
        (
            *of(
                CORE,
                "test_a_holder_who_replies_another_share_is_named_and_the_others_are_enough",
                "test_a_dealer_who_shared_another_seed_is_named",
                "test_a_bundle_that_does_not_open_is_a_complaint_that_names_two",
            ),
            *of(
                CULPRITS,
                "test_a_false_share_names_its_holder_and_the_others_are_enough",
                "test_the_next_attempt_goes_without_a_proven_culprit_and_needs_no_consent",
            ),
        ),
    ),
    Attack(
        "B2",
        "an honest site is called the culprit",
        "FM-MSK-19",
        (
            *of(CULPRITS, "test_nobody_is_called_a_culprit_without_a_proof"),
            *of(CORE, "test_nobody_is_named_for_what_the_files_do_not_show"),
        ),
    ),
    Attack(
        "B2",
        "pairs of sites that do not agree on their seed",
        "the fewest are left out, before the set is decided",
        (
            *of(CORE, "test_whoever_answered_another_model_is_a_mismatch_with_everyone"),
            *of(CULPRITS, "test_a_site_that_masks_for_other_keys_is_left_out_before_anybody_is_asked"),
        ),
    ),
    Attack(
        "B3",
        "the number of cases beside a masked update",
        "no count, metric or loss; two sites' files differ in nothing that tells",
        (*of(CONDITIONS, "test_a_masked_update_tells_nothing_about_its_site"),),
    ),
    Attack(
        "B4",
        "a vector outside of the clip, or a number of cases that no sites have",
        "FM-SHR-12",
        (
            *of(
                "learning/test_masking.py",
                "test_a_number_of_cases_that_no_sites_have_is_refused",
                "test_a_sum_beyond_what_honest_updates_give_is_refused",
                "test_a_mean_longer_than_the_clip_is_refused",
                "test_with_a_mask_left_on_the_sum_is_refused",
            ),
            *of(CONDITIONS, "test_what_sites_send_beyond_their_clip_is_no_sum"),
        ),
    ),
    Attack(
        "B5",
        "a recipe under masking in which some coordinates are of one hospital, or which needs single updates",
        "FM-RCP-03, FM-MSK-06",
        (
            *of(
                "test_recipes.py",
                "test_what_masks_would_hide_from_a_recipe_that_needs_it_is_refused",
                "test_layers_that_stay_at_the_sites_cannot_be_masked",
            ),
            *of(CONDITIONS, "test_a_site_that_leaves_classes_out_cannot_mask"),
        ),
    ),
    Attack(
        "B6",
        "names that run into each other in what is hashed; two recipes under one context",
        "no two inputs are read as one",
        (*of("exchange/test_seeds.py", "test_no_two_inputs_are_read_as_one", "test_the_context_is_the_models_id"),),
    ),
    Attack(
        "B7",
        "another suite of HPKE at another site",
        "one suite, which a second program opens",
        (*of("exchange/test_seeds.py", "test_a_bundle_opens_with_the_second_program"),),
    ),
    Attack(
        "B11",
        "a site that was restored answers a round a second time",
        "FM-TRU-06, FM-ROS-07; its mask keys of before are gone, and are no part of a backup",
        (
            *of(LIES, "test_a_restored_site_does_not_answer_twice"),
            *of(
                "federation/test_recovered.py",
                "test_an_answered_round_is_not_answered_again",
                "test_mask_keys_of_before_are_thrown_away",
            ),
            *of(CERTIFICATES, "test_keys_are_the_owners_alone_and_no_part_of_a_backup"),
        ),
    ),
    Attack(
        "B11",
        "a coordinator keeps proofs back, or signs a first attempt again for a restored site alone",
        "FM-ROS-07, FM-MSK-10",
        (
            *of(
                "federation/test_recovered_masks.py",
                "test_a_restored_site_answers_no_second_set",
                "test_a_round_that_a_backup_has_not_heard_of_is_not_answered_again",
                "test_a_first_attempt_shown_to_a_restored_site_alone_opens_nothing",
            ),
        ),
    ),
    Attack(
        "C1",
        "a model that the sum does not give, or seeds that no site committed to, in the archive",
        "FM-SHR-11, FM-SHR-14",
        (
            *of(
                "auditor/test_masked.py",
                "test_another_model_than_the_sum_gives_is_found",
                "test_seeds_that_no_site_committed_to_are_found",
                "test_a_model_that_leaves_an_update_out_of_its_parents_is_found",
                "test_a_model_that_says_updates_came_plain_is_found",
            ),
        ),
    ),
)

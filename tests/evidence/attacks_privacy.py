"""Attacks on differential privacy and on what leaves beside it."""

from __future__ import annotations

from .attack import Attack, of

BUDGET, STEPS, PRIVATE = "site/test_private.py", "training/test_dp_sgd.py", "training/test_private.py"
STORE = "site/test_budget.py"
ENCRYPTED = "federation/test_encrypted.py"

ATTACKS = (
    Attack(
        "A6",
        "two workspaces on one cohort, and the cohort with one patient more",
        "FM-PRV-04 before training; events of every federation compose for each patient",
        (
            *of(
                BUDGET,
                "test_another_workspace_of_the_hospital_sees_the_same_patients",
                "test_what_is_spent_is_refused_before_anything_is_trained",
            ),
            *of(
                STORE,
                "test_who_was_in_what_composes",
                "test_disjoint_cohorts_do_not_compose",
                "test_one_patient_more_or_another_split_resets_nobody",
            ),
        ),
    ),
    Attack(
        "A6",
        "no store, one inside of a workspace, an older or a damaged copy of it, one without its key",
        "FM-PRV-01, FM-PRV-03",
        (
            *of(
                BUDGET,
                "test_no_budget_no_training",
                "test_a_store_inside_of_a_workspace_is_none",
                "test_an_older_copy_of_the_store_is_refused",
                "test_a_store_that_lost_its_key_is_no_new_store",
                "test_another_store_than_before_is_noticed",
                "test_names_that_another_store_gave_are_no_names",
                "test_charges_that_are_gone_are_noticed",
                "test_a_restored_hospital_is_told_by_its_own_signature",
            ),
            *of(STORE, "test_whatever_does_not_belong_there_stops_everything", "test_the_key_of_another_store"),
        ),
    ),
    Attack(
        "A7",
        "noise, coins or augmentation that follow from a recipe's seed",
        "from the system, another stream in every process",
        (
            *of(STEPS, "test_the_same_stream_gives_the_same_weights_and_every_process_has_another"),
            *of(PRIVATE, "test_dropout_follows_the_secret_stream", "test_augmentation_follows_the_secret_stream"),
        ),
    ),
    Attack(
        "A7",
        "the state of randomness in a checkpoint",
        "there is none; a resumed round has other noise, and steps that were lost are charged",
        (
            *of(
                STEPS,
                "test_a_checkpoint_knows_no_randomness",
                "test_a_killed_round_goes_on_with_other_noise_and_tells_which_steps_it_began",
            ),
            *of(
                BUDGET,
                "test_a_killed_round_keeps_its_reservation_and_pays_for_what_was_lost",
                "test_from_the_beginning_again_everything_is_paid_twice",
            ),
        ),
    ),
    Attack(
        "B10",
        "who steals the stick reads counts, metrics or digests of what is encrypted, or finds it on a disk",
        "nothing of it is in clear",
        (
            *of(
                ENCRYPTED,
                "test_who_steals_the_stick_finds_no_count_metric_tensor_or_plain_digest",
                "test_nothing_decrypted_stays_on_the_disk",
            ),
        ),
    ),
    Attack(
        "B10",
        "another's ciphertext under the own signature, or that of another round",
        "FM-AGE-03",
        (
            *of(
                ENCRYPTED,
                "test_another_sites_ciphertext_is_not_passed_on",
                "test_a_payload_of_another_round_is_not_sent_again",
            ),
        ),
    ),
    Attack(
        "B10",
        "a false ciphertext, one in part, or a file in clear where it was agreed to encrypt",
        "FM-AGE-01, FM-AGE-04",
        (
            *of(
                ENCRYPTED,
                "test_a_false_ciphertext_is_refused",
                "test_partly_encrypted_is_nothing",
                "test_clear_in_an_encrypted_federation_and_the_reverse",
                "test_a_flip_is_found_before_anything_is_decrypted",
            ),
        ),
    ),
    Attack(
        "B12",
        "a recipe or a network with DP in which something tells more of patients than the noise covers",
        "FM-RCP-03",
        (
            *of(
                "test_recipes.py",
                "test_what_tells_more_of_patients_than_the_noise_covers_is_refused",
                "test_all_that_dp_excludes_is_named_at_once",
            ),
            *of(PRIVATE, "test_a_network_with_state_beside_its_weights_is_refused_whatever_was_asked_for"),
        ),
    ),
    Attack(
        "B12",
        "an empty batch is left out, or a step divided by who came",
        "a whole step of noise; divided by the expected number",
        (
            *of(
                STEPS,
                "test_an_empty_step_is_noise_of_the_right_size",
                "test_a_round_without_patients_is_a_round_of_noise",
                "test_a_step_is_divided_by_the_expected_number_and_not_by_who_came",
            ),
        ),
    ),
    Attack(
        "B12",
        "a patient with many images, or whose image is not a number",
        "moves the sum by no more than the clip; adds nothing",
        (
            *of(
                STEPS,
                "test_one_patient_moves_the_sum_by_no_more_than_the_clip",
                "test_a_patient_whose_image_is_not_a_number_adds_nothing",
            ),
            *of(PRIVATE, "test_a_patient_counts_once_however_many_images_there_are"),
        ),
    ),
    Attack(
        "B12",
        "a proximal term under the noise",
        "comes behind clip and noise",
        (*of(PRIVATE, "test_the_proximal_term_comes_behind_clip_and_noise"),),
    ),
    Attack(
        "B13",
        "published epsilons that belong to another delta",
        "5.24, 4.83, 3.73 at delta = 1e-5",
        (
            *of(
                "learning/test_accounting.py",
                "test_epsilon_at_the_usual_noise",
                "test_events_compose_and_do_not_add_up",
            ),
        ),
    ),
    Attack(
        "B14",
        "small cells that can be worked out from the others; metrics and curves of few",
        "suppressed together with another cell; left out below the floor",
        (
            *of(
                "test_fingerprint.py",
                "test_no_class_of_a_few_images_can_be_worked_out",
                "test_no_cell_is_too_small_and_nobody_is_lost",
            ),
            *of("site/test_ratings.py", "test_curves_need_min_count_of_both_kinds"),
            *of("site/test_scores.py", "test_breakdowns_need_min_count_cases"),
        ),
    ),
)

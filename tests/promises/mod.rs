//! The tests, one file for each subject.

mod crashes;
mod datasets;
mod deliveries;
mod dry_run;
mod duplicates;
mod events;
mod expiry;
mod files;
mod isolation;
mod rejects;
mod resent;
mod schema;
mod sessions;
mod turns;
mod uploads;

use crate::Trials;

/// Names every test: its file and its promise.
macro_rules! promises {
    ($trials:ident.$add:ident: $($subject:ident { $($promise:ident),+ $(,)? })+) => {
        $($($trials.$add(concat!(stringify!($subject), "::", stringify!($promise)), $subject::$promise);)+)+
    };
}

/// Adds all tests to the list. The long ones stand first, so that none of them is waited for at the end.
pub(crate) fn list(trials: &mut Trials) {
    promises! { trials.add:
        files {
            a_row_may_lie_across_a_chunk_edge_at_every_offset,
            a_line_over_a_mebibyte_is_refused_alone,
            a_file_has_the_rows_that_its_lines_say,
        }
        rejects { every_refused_line_is_told_with_its_place, fixed_rejects_can_be_sent_as_they_are }
        deliveries { the_same_messages_delivered_five_times_change_nothing }
        datasets { each_dataset_goes_all_the_way }
        duplicates {
            the_last_row_of_an_id_wins,
            the_last_file_of_a_session_wins,
            a_taken_natural_key_is_a_reject,
            a_freed_natural_key_can_be_taken,
        }
        dry_run { a_dry_run_counts_what_a_real_run_does }
        events { sample_events_are_understood, malformed_messages_are_dropped }
        expiry { a_file_that_never_arrives_holds_nothing_up }
        isolation {
            two_tenants_at_once_with_the_same_ids_do_not_meet,
            no_tenant_sees_another,
            no_tenant_writes_into_another,
            leaf_partitions_are_closed,
            a_privileged_role_is_refused,
        }
        resent {
            the_file_sent_twice_is_all_unchanged,
            a_changed_row_keeps_its_creation,
            an_order_moves_with_its_date,
            a_partition_made_later_takes_its_orders_over,
        }
        schema { migrations_are_applied_once, every_statement_prepares }
        sessions {
            only_a_key_opens_the_door,
            a_request_that_is_wrong_is_told_where,
            another_tenants_token_is_unknown,
            a_path_is_the_same_with_a_trailing_slash,
            the_predecessors_body_makes_a_session,
            an_unknown_path_is_a_problem,
            a_request_with_a_key_has_its_effect_once,
        }
        turns { parents_are_promoted_before_their_children }
        uploads {
            parts_may_come_in_any_order,
            a_missing_part_is_asked_for,
            a_put_of_another_length_is_refused,
            an_object_of_another_size_fails_alone,
            a_replaced_object_is_never_mixed_in,
            a_checksum_is_held_against_the_object,
        }
    }
    promises! { trials.add_alone:
        crashes { a_killed_function_loses_and_doubles_nothing }
    }
}

//! The tests, one file for each subject.

mod cancel;
mod catalog;
mod crashes;
mod datasets;
mod dead_letters;
mod deliveries;
mod dry_run;
mod duplicates;
mod edge;
mod edge_bench;
mod erase;
mod events;
mod expiry;
mod export_bench;
mod export_command;
mod exports;
mod fail_points;
mod files;
mod formats;
mod idempotency;
mod import;
mod isolation;
mod json_objects;
mod keys;
mod limits;
mod logins;
mod metrics;
mod metrics_bench;
mod openapi;
mod policies;
mod price_anomalies;
mod price_bench;
mod price_holds;
mod prices;
mod problems;
mod rejects;
mod resent;
mod resume;
mod retention;
mod schema;
mod search;
mod search_bench;
mod sessions;
mod small_files;
mod statistics;
mod status;
mod stock;
mod stock_bench;
mod stock_files;
mod stock_storm;
mod stores;
mod storm;
mod telemetry;
mod turns;
mod uploads;
mod webhooks;

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
        keys { a_revoked_key_is_refused_soon_and_a_flood_is_a_line }
        stores { they_are_used_as_localstack_has_them, they_are_used_as_the_emulator_has_them }
        files {
            a_row_may_lie_across_a_chunk_edge_at_every_offset,
            a_line_over_a_mebibyte_is_refused_alone,
            a_file_has_the_rows_that_its_lines_say,
        }
        formats {
            the_same_rows_in_any_format_are_the_same,
            rejects_of_csv_say_their_line_and_can_be_sent_again,
            a_file_that_is_not_what_it_says_fails_by_name,
            nothing_is_a_file_in_any_format,
            a_record_without_an_end_is_refused_in_bounded_memory,
        }
        policies {
            nothing_of_a_file_with_too_many_rejects_is_promoted,
            a_files_policy_goes_before_its_sessions,
            missing_references_are_counted_or_refused,
        }
        price_anomalies {
            a_followed_answer_ends_by_itself,
            a_tenant_follows_five_at_a_time,
            who_reads_on_misses_nothing,
            anomalies_are_told_as_they_stand,
            many_come_in_pages_of_any_size,
            a_wrong_parameter_is_named,
            where_answers_are_sent_whole_none_is_followed,
        }
        problems {
            a_panic_is_a_problem_that_is_logged,
            a_wrong_field_is_pointed_at,
            every_refusal_is_a_problem,
            a_head_is_a_get_without_its_body,
        }
        rejects {
            every_refused_line_is_told_with_its_place,
            fixed_rejects_can_be_sent_as_they_are,
            all_rejects_come_in_one_answer,
        }
        deliveries {
            the_same_messages_delivered_five_times_change_nothing,
            messages_may_come_five_times_in_any_order_in_every_format,
        }
        datasets { each_dataset_goes_all_the_way }
        duplicates {
            the_last_row_of_an_id_wins,
            the_last_file_of_a_session_wins,
            a_taken_natural_key_is_a_reject,
            a_freed_natural_key_can_be_taken,
        }
        dead_letters {
            a_dead_letter_of_work_that_was_done_changes_nothing,
            a_dead_letter_of_no_known_kind_is_kept,
            who_waited_for_a_resumed_file_does_not_end_it,
        }
        dry_run { a_dry_run_counts_what_a_real_run_does }
        edge {
            thirty_at_once_are_all_answered,
            encoded_characters_stay_what_they_are,
            a_head_has_no_body_and_a_preflight_needs_no_key,
            a_body_that_is_too_large_is_a_problem,
            a_binary_body_arrives_byte_for_byte,
        }
        events { sample_events_are_understood, malformed_messages_are_dropped }
        exports {
            every_dataset_is_taken_out_as_it_is,
            parquet_opens_where_others_open_it,
            what_is_taken_out_can_be_sent_again,
            filters_and_columns_are_those_that_were_asked_for,
            memory_does_not_grow_with_the_file,
            a_download_can_go_on_where_it_broke_off,
            a_wrong_order_is_pointed_at,
            an_order_is_one_export_however_often_it_is_sent,
            a_cancelled_export_leaves_nothing,
        }
        expiry {
            a_file_that_never_arrives_holds_nothing_up,
            parts_of_a_file_that_never_became_whole_are_dropped,
        }
        export_command { an_interrupted_export_goes_on_as_the_same }
        import {
            a_sqlite_file_comes_over,
            a_postgresql_database_comes_over,
            a_mariadb_database_comes_over,
            an_import_that_dies_goes_on_and_doubles_nothing,
            what_has_changed_since_comes_with_the_next_import,
            what_stands_in_the_way_is_named,
            a_side_that_differs_is_no_success,
        }
        idempotency {
            a_function_that_dies_at_any_step_has_one_effect,
            an_answer_is_given_again_byte_for_byte,
            a_key_stands_for_one_request,
            a_key_in_flight_is_not_waited_for,
            what_has_expired_is_new_although_it_is_still_there,
            two_tenants_with_one_key_are_independent,
            the_last_of_three_keys_holds,
            of_fifty_at_once_one_has_its_effect,
            a_claim_that_ran_out_is_held_by_postgresql,
            a_claim_is_given_back_by_its_own_request_alone,
            a_transaction_that_waits_too_long_for_a_claim_gives_up,
            without_dynamodb_nothing_is_written,
            a_key_costs_two_writes,
        }
        isolation {
            two_tenants_at_once_with_the_same_ids_do_not_meet,
            leaf_partitions_are_closed,
            every_table_is_guarded,
            no_tenant_reaches_another_in_any_table,
            a_door_that_is_left_open_is_found,
            a_connection_that_is_used_again_carries_no_tenant,
            a_role_that_gets_around_the_policies_is_refused,
        }
        json_objects {
            what_jsonb_gives_back_is_the_same_object,
            an_order_whose_object_is_spelled_otherwise_is_unchanged,
        }
        limits { price_events_are_limited_by_tenant_and_by_product }
        logins {
            a_password_that_is_rotated_under_load_is_survived,
            a_token_is_what_amazons_own_client_makes,
        }
        metrics {
            an_order_that_moves_under_its_items_takes_them_along,
            both_precisions_agree_whatever_is_uploaded,
            what_changes_nothing_touches_nothing,
            days_that_nobody_counts_are_sent_for,
            days_are_counted_by_one_at_a_time,
            days_counted_together_are_as_counted_alone,
            a_wrong_parameter_is_named,
            what_is_told_is_what_the_predecessor_told,
            uploads_are_told_over_time,
        }
        prices {
            a_function_that_dies_changes_a_price_once,
            an_event_changes_the_price_and_its_history,
            the_predecessors_words_are_kept,
            a_request_changes_a_price_once,
            a_product_has_ten_events_a_minute,
            a_policy_says_what_becomes_of_a_suspect_price,
            two_callers_at_once_leave_one_chain,
            a_product_that_is_uploaded_meanwhile_is_known,
            bad_input_is_named_and_changes_nothing,
            lines_are_settled_each_for_itself,
            a_long_answer_tells_of_every_line,
            a_file_of_events_is_settled_as_a_request_is,
            another_tenants_prices_are_unknown,
        }
        price_holds {
            a_held_price_goes_in_when_it_is_approved,
            a_newer_event_takes_the_place_of_a_held_price,
            of_many_who_decide_at_once_one_decides,
            held_prices_come_in_pages,
        }
        keys {
            a_key_that_is_added_opens_the_door_within_seconds,
            a_hash_is_no_key_whoever_it_came_from,
            what_is_known_of_a_key_is_not_asked_again,
            two_keys_live_at_most_however_many_come_at_once,
            the_last_key_is_not_revoked_by_mistake,
            the_last_use_is_noted_once_a_minute,
            a_path_of_another_tenant_is_unknown,
            whoever_is_refused_is_written_down,
            an_entry_that_cannot_be_written_changes_no_answer,
        }
        openapi {
            the_served_document_is_the_committed_one,
            every_method_that_a_path_does_not_take_is_405,
            pages_need_nobody_else,
            assets_are_packed_and_kept,
            a_page_behind_a_stage_finds_its_parts,
        }
        resent {
            the_file_sent_twice_is_all_unchanged,
            a_changed_row_keeps_its_creation,
            a_row_that_comes_back_with_its_creation_is_unchanged,
            an_order_moves_with_its_date,
            a_partition_made_later_takes_its_orders_over,
        }
        cancel {
            a_slice_in_promotion_is_waited_for,
            every_row_of_a_cancelled_upload_is_accounted_for,
            a_session_that_waits_is_cancelled,
            a_session_that_has_ended_is_not_cancelled,
        }
        resume {
            only_missing_parts_are_asked_for,
            an_upload_that_is_gone_begins_again,
            a_file_of_one_put_gets_a_fresh_url,
            a_lost_event_is_made_up_for,
            failed_chunks_are_tried_again,
            what_is_over_is_not_resumed,
        }
        small_files {
            the_predecessors_form_is_taken_once,
            a_raw_body_may_be_packed_and_of_either_layout,
            files_join_the_session_that_is_named,
            what_is_no_small_file_is_refused,
            what_the_bucket_does_not_take_is_given_up_and_sent_anew,
            a_bucket_whose_answer_was_lost_has_the_file,
            of_two_with_one_key_none_is_answered_what_is_not_so,
        }
        statistics { who_may_not_have_tables_analyzed_is_refused }
        status {
            a_status_tells_all_that_is_known,
            a_wait_ends_with_the_session,
            sessions_are_listed_newest_first,
        }
        stock {
            an_update_whose_function_dies_has_one_effect,
            a_lock_that_is_not_had_in_time_is_503,
            an_answer_that_dynamodb_has_no_room_for_is_given_again,
            a_bulk_update_says_what_became_of_each_line,
            a_level_never_falls_below_zero,
            a_set_holds_by_its_time_and_an_expected_level_is_compared,
            an_event_counts_once,
            an_update_comes_in_any_wrapping,
            levels_and_events_are_told_in_pages,
            what_is_no_update_is_refused_by_name,
        }
        stock_files {
            a_file_leads_where_the_same_requests_lead,
            events_that_cannot_apply_are_rejects_of_their_file,
            a_dry_run_of_several_files_meets_what_they_would_leave,
        }
        stock_storm { sixteen_callers_in_opposite_orders_lose_nothing }
        search {
            every_search_finds_what_looking_at_each_order_does,
            orders_that_arrive_or_move_disturb_no_reader,
            a_line_is_exact_and_has_the_fields_that_were_asked_for,
            a_wrong_parameter_is_named,
            a_cursor_goes_with_its_query,
            orders_of_the_release_before_are_found,
            what_an_order_said_before_goes_with_its_last_order,
            a_search_that_takes_too_long_is_a_problem,
            a_search_without_time_goes_on_by_its_cursor,
            a_query_that_nobody_waits_for_is_stopped,
            every_query_has_an_index_and_the_months_of_its_dates,
            what_is_sent_whole_is_cut_where_it_has_no_room,
        }
        catalog {
            an_order_is_told_with_its_items,
            products_and_customers_are_told_as_they_are,
            another_tenants_things_are_unknown,
        }
        retention {
            a_month_is_archived_by_what_is_wanted_at_that_moment,
            an_archived_month_is_clean_when_it_is_of_everybody,
            a_month_gets_no_partition_before_its_archive_is_clean,
            a_tenant_that_is_gone_is_not_cleaned_after,
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
        telemetry {
            a_trace_goes_from_the_gateway_to_the_last_chunk,
            what_was_done_is_counted,
            metrics_are_as_cloudwatch_reads_them,
            every_metric_has_a_unit_and_is_described,
        }
        turns { parents_are_promoted_before_their_children }
        uploads {
            parts_may_come_in_any_order,
            a_missing_part_is_asked_for,
            a_put_of_another_length_is_refused,
            an_object_of_another_size_fails_alone,
            a_replaced_object_is_never_mixed_in,
            a_checksum_is_held_against_the_object,
            an_object_is_written_once,
            a_signed_address_is_good_for_one_object_and_its_headers,
            an_upload_whose_answer_was_lost_is_there,
            the_bucket_is_closed_encrypted_and_written_once,
        }
        webhooks {
            the_end_of_a_session_is_told_once_and_signed,
            of_many_at_once_one_makes_the_call,
            a_receiver_that_fails_is_called_again,
            a_receiver_that_is_gone_is_left_alone,
            a_new_secret_signs_from_then_on,
            after_eight_attempts_nobody_is_called_any_more,
            nobody_is_called_inside_of_our_network,
            a_call_for_an_end_that_is_no_more_is_not_made,
            a_function_that_dies_at_any_step_calls_again_under_the_same_id,
        }
    }
    promises! { trials.add_alone:
        crashes { a_killed_function_loses_and_doubles_nothing }
        exports {
            a_function_that_dies_leaves_no_gap_and_no_double_row,
            what_does_not_fit_into_an_invocation_is_handed_on,
        }
        dead_letters { poison_is_given_up_alone_and_resumed, what_is_sent_back_is_done }
        logins { an_encrypted_way_is_taken_and_proven, a_deployment_is_told_how_its_migrations_went }
        retention {
            a_tenants_old_orders_go_with_all_that_belongs_to_them,
            stock_events_go_and_levels_stay,
            price_events_go_but_those_that_wait,
            sessions_go_with_their_files_rejects_and_objects,
            old_entries_of_the_audit_log_go,
            exports_expire_with_their_files,
            an_archived_month_takes_its_orders_out_at_once,
            an_archived_month_is_told_no_more,
        }
        erase { an_erased_tenant_is_gone_everywhere, an_erasure_in_the_middle_of_an_upload_leaves_nothing }
        edge { a_function_that_is_killed_in_a_request_is_replaced }
        limits {
            two_functions_share_one_budget_over_a_minutes_edge,
            no_minute_sees_more_than_the_quota,
            a_request_costs_one_write_and_a_denial_none,
            a_table_that_is_down_is_stood_in_for,
            a_tenant_that_calls_too_often_is_told_when_to_come_again,
        }
        price_anomalies { a_line_is_read_before_the_next_is_written, who_leaves_is_not_worked_for }
        isolation { a_loader_leaves_no_row_in_another_tenant }
        fail_points { a_function_that_fails_at_any_step_changes_nothing }
        files { pieces_that_two_have_cut_are_read_whatever_their_versions }
        metrics { a_function_that_dies_loses_no_day }
        statistics { a_tenant_that_has_just_come_is_known }
        telemetry { a_message_carries_its_trace_on }
        storm { every_seed_ends_where_the_oracle_says }
    }
    // measures that promise nothing
    if std::env::var_os("INTAKE_EDGE_BENCH").is_some() {
        promises! { trials.add_alone: edge_bench { what_the_edge_costs } }
    }
    if std::env::var_os("INTAKE_EXPORT_BENCH").is_some() {
        promises! { trials.add_alone: export_bench { how_fast_orders_are_taken_out } }
    }
    if std::env::var_os("INTAKE_STOCK_BENCH").is_some() {
        promises! { trials.add_alone: stock_bench { how_fast_stock_moves } }
    }
    if std::env::var_os("INTAKE_SEARCH_BENCH").is_some() {
        promises! { trials.add_alone: search_bench { how_fast_a_million_orders_are_searched } }
    }
    if std::env::var_os("INTAKE_METRICS_BENCH").is_some() {
        promises! { trials.add_alone: metrics_bench { how_fast_sales_are_counted } }
    }
    if std::env::var_os("INTAKE_PRICE_BENCH").is_some() {
        promises! { trials.add_alone: price_bench { what_a_price_event_costs } }
    }
}

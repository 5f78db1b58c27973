"""Where each fact of docs/design/ucondb.md is tried on the client: the table, and that every test in it is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CLIENT, FAULTS = "integration/test_ucondb.py", "integration/test_ucondb_faults.py"
HTTP, SQL = "unit/stores/ucondb/test_http.py", "integration/test_ucondb_sql.py"
ANSWERS = "unit/stores/ucondb/test_answers.py"
DIGEST, SERVER = "unit/stores/ucondb/test_digest.py", "integration/test_ucondb_dev_server.py"
NAMESPACE = "integration/test_ucondb_namespace.py"
CONTRACT = "contract/test_ucondb_contract.py"
GUNICORN, SITE = "integration/test_ucondb_front_end.py", "acceptance/test_ucondb_site.py"

ROWS: dict[str, tuple[str, str]] = {
    # section 1, requests
    "GET /version, /folders": (CLIENT, "test_check_returns_version_and_folder_and_writes_nothing"),
    "GET /probe says 200 with the database down: not used": (
        FAULTS,
        "test_a_database_killed_under_the_server_costs_nothing_but_time",
    ),
    "GET /versions, no paging": (CLIENT, "test_more_keys_than_one_lookup_holds_are_all_looked_up"),
    "POST /lookup_versions, keys as text": (CLIENT, "test_what_was_put_is_read_back_with_its_description"),
    "empty body of a look-up that found nothing": (CLIENT, "test_an_empty_folder_is_ready_for_its_first_cycle"),
    "POST /data with full_meta": (CLIENT, "test_key_and_tag_are_the_run_number"),
    "GET /data by key, never by data_key": (CLIENT, "test_what_was_put_is_read_back_with_its_description"),
    "a blob without Content-Length": (CLIENT, "test_a_blob_cut_in_transit_is_never_accepted"),
    # section 1, digest
    "preemptive digest, one upload": (HTTP, "test_the_realm_of_the_challenge_is_used"),
    "realm NAMESPACE.F": (NAMESPACE, "test_case_d1_a_blob_is_stored_in_any_namespace"),
    "an unsigned POST is answered with the challenge": (NAMESPACE, "test_fifty_puts_in_a_namespace_need_one_challenge"),
    "folder names with the namespace in front": (NAMESPACE, "test_check_finds_the_folder_by_name_with_namespace_too"),
    "authentication none": (HTTP, "test_a_server_without_authentication_gets_no_password"),
    "tv=x stores nothing": (CONTRACT, "what_is_no_time_is_refused_after_the_password"),
    "uri as sent": (HTTP, "test_what_is_signed_is_what_is_sent"),
    "a comma in the uri goes as %2C": (DIGEST, "test_a_comma_never_gets_into_the_digest_uri"),
    "401 without challenge: wrong password": (FAULTS, "test_a_wrong_password_is_reported_and_never_shown"),
    "401 without challenge: unknown user": (FAULTS, "test_an_unknown_user_is_refused"),
    "401 with challenge (another front end)": (HTTP, "test_a_stricter_server_is_answered_once"),
    "401 with challenge, again and again": (HTTP, "test_a_server_that_keeps_challenging_has_refused"),
    "401 that asks for Basic": (HTTP, "test_basic_authentication_is_refused"),
    # section 1, cases of put
    "duplicate key, same content: done": (CLIENT, "test_the_same_blob_again_is_there_already_and_changes_nothing"),
    "duplicate key, other content: Conflict, both checksums": (
        CLIENT,
        "test_other_content_is_a_conflict_and_changes_nothing",
    ),
    "the same, lost race between two server processes": (
        FAULTS,
        "test_two_servers_on_one_database_store_every_run_once",
    ),
    "override=yes": (CLIENT, "test_a_version_is_replaced_while_it_is_the_current_one"),
    "unknown folder (404, or 500 for a read)": (FAULTS, "test_an_unknown_folder_is_reported_by_every_call"),
    "unknown folder: how to create it": (
        SITE,
        "test_the_command_of_the_message_creates_the_folder",
    ),
    "unknown object (404, or 500 for a read)": (CLIENT, "test_an_empty_folder_is_ready_for_its_first_cycle"),
    "keys that are null, empty or no run": (CLIENT, "test_keys_that_are_not_runs_are_not_listed"),
    "empty body, NUL, not UTF-8, large": (CLIENT, "test_bytes_are_kept_exactly"),
    "without Content-Length an empty blob is stored": (CONTRACT, "a_body_without_length_is_stored_as_an_empty_blob"),
    "body shorter than its length": (CONTRACT, "a_body_shorter_than_announced_is_not_stored"),
    "put whose client gave up, stored later": (CLIENT, "test_a_put_that_timed_out_is_found_by_the_next"),
    "lost answer after commit": (CLIENT, "test_a_lost_answer_after_commit_is_found_done"),
    "a read-back that differs": (CLIENT, "test_a_put_is_not_done_before_it_was_read_back"),
    # section 2
    "everything serialised, one client stalls": (SERVER, "test_a_client_that_stalls_freezes_everybody"),
    "slow to connect": (HTTP, "test_an_unreachable_server_is_given_up_after_the_timeout"),
    "slow to answer": (HTTP, "test_a_silent_server_is_given_up_after_the_configured_time"),
    "503 without headers": (HTTP, "test_an_error_answer_gives_a_message_with_a_remedy"),
    "503 on a put": (CLIENT, "test_a_put_that_never_arrived_may_be_tried_again"),
    "connection reset": (HTTP, "test_after_a_reset_the_put_is_looked_up"),
    "many writers": (FAULTS, "test_twenty_putters_in_two_processes_store_every_run_once"),
    "no more at once than max_connections": (SITE, "test_all_workers_together_keep_to_max_connections"),
    # section 3
    "/versions without the final ]": (CLIENT, "test_a_listing_the_database_did_not_finish_is_no_listing"),
    "lookup_versions cut cleanly": (CLIENT, "test_a_lookup_that_was_cut_short_doubles_nothing"),
    "server dies among puts": (FAULTS, "test_a_killed_server_leaves_each_run_whole_or_absent"),
    # section 4
    "listing by SQL as the server lists": (SQL, "test_the_listing_by_sql_equals_the_servers"),
    "data_key is text and may lead nowhere": (SQL, "test_damage_in_the_tables_is_that_runs_fault"),
    "content lost under a version": (CLIENT, "test_content_the_database_lost_is_that_runs_fault"),
    "signed adler32 of an old row": (ANSWERS, "test_a_signed_checksum_of_an_old_row_is_understood"),
    # gunicorn
    "keep-alive, chunked": (GUNICORN, "test_every_request_of_the_client_works_there_too"),
    "keep-alive that the server ended": (GUNICORN, "test_a_connection_the_server_gave_up_meanwhile_is_made_anew"),
    "401 there": (GUNICORN, "test_a_wrong_password_is_reported_through_the_front_end"),
    "cut there": (GUNICORN, "test_an_answer_cut_by_the_front_end_is_never_accepted"),
    "two processes there": (GUNICORN, "test_two_processes_behind_one_address_store_every_run_once"),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_specification_has_its_test(row: str) -> None:
    module, name = ROWS[row]

    assert re.search(rf"^def {name}\(", (TESTS / module).read_text(), re.MULTILINE)

-- After many rows at once the planner knows nothing of them until autovacuum has come round: a page of the list would read the whole tenant. Only the owner
-- of a table may look at it anew, so a function does it for the API; it tells nothing and changes no row.
create function netd_analyze_subscribers() returns void language plpgsql security definer set search_path from current as $$
begin
    analyze subscribers, radcheck, radreply, subscriber_lines, subscriber_identities;
end $$;
revoke execute on function netd_analyze_subscribers() from public;
grant execute on function netd_analyze_subscribers() to netd_tenant;

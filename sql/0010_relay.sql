-- Who may send Disconnect- and CoA-Requests to netd (RFC 5176) for it to relay, and what makes "who had this address then?" quick.

create table coa_clients (
    id                            bigint generated always as identity primary key,
    tenant_id                     bigint not null references tenants,
    name                          text not null check (length(name) between 1 and 64),
    address                       cidr not null unique,                        -- the packets' source; the longest prefix wins
    secret                        bytea not null,                              -- sealed
    may_disconnect                boolean not null default true,
    may_change                    boolean not null default false,              -- CoA-Requests
    may_override                  boolean not null default false,              -- also of sessions whose service netd itself enforces
    may_select_many               boolean not null default false,              -- a request that several sessions match goes to each of them
    require_message_authenticator boolean not null default true,
    require_event_timestamp       boolean not null default true,
    enabled                       boolean not null default true,
    description                   text,
    version                       integer not null default 1,
    created_at                    timestamptz not null default now(),
    updated_at                    timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index coa_clients_name on coa_clients (tenant_id, lower(name));

create trigger changed_i after insert on coa_clients referencing new table as new_rows for each statement execute function netd_changed('coa_client', 'id');
create trigger changed_u after update on coa_clients referencing new table as new_rows for each statement execute function netd_changed('coa_client', 'id');
create trigger changed_d after delete on coa_clients referencing old table as old_rows for each statement execute function netd_changed('coa_client', 'id');

-- "Who had this address at that moment?" A session that began long before may have lasted until then, so the month of the start alone
-- excludes nothing. Two things do: by address and stop, an index hands out only the sessions that ended after the moment; and the reach of a
-- month, the latest stop of the sessions that began in it, tells which months hold any.
drop index radacct_framedip;
drop index radacct_ipv6address;
drop index radacct_ipv6prefix;
drop index radacct_delegated;
create index radacct_framedip on radacct (framedipaddress, acctstoptime, acctstarttime) where framedipaddress is not null;
create index radacct_ipv6address on radacct (framedipv6address, acctstoptime) where framedipv6address is not null;
create index radacct_ipv6prefix on radacct (framedipv6prefix, acctstoptime) where framedipv6prefix is not null;
create index radacct_delegated on radacct (delegatedipv6prefix, acctstoptime) where delegatedipv6prefix is not null;

-- ``reached_at`` is rounded up to a whole day (UTC), so that it is written once a day and not with every Stop. It may be later than need be, never earlier.
create table radacct_reach (
    month      date primary key,                                               -- of the start, UTC
    reached_at timestamptz not null
);
insert into radacct_reach
    select date_trunc('month', acctstarttime, 'UTC') at time zone 'UTC', date_trunc('day', max(acctstoptime), 'UTC') + interval '1 day'
    from radacct where isfinite(acctstarttime) group by 1;

create function netd_radacct_reach() returns trigger language plpgsql as $$
begin
    insert into radacct_reach as r
        select n.month, n.reached_at
        from (select (date_trunc('month', acctstarttime, 'UTC') at time zone 'UTC')::date as month,
                     date_trunc('day', max(acctstoptime), 'UTC') + interval '1 day' as reached_at
              from new_rows where isfinite(acctstarttime) group by 1) n
        where not exists (select from radacct_reach known where known.month = n.month and known.reached_at >= n.reached_at)
        order by n.month
    on conflict (month) do update set reached_at = greatest(r.reached_at, excluded.reached_at);
    return null;
end $$;
create trigger reach_i after insert on radacct referencing new table as new_rows for each statement execute function netd_radacct_reach();
create trigger reach_u after update on radacct referencing new table as new_rows for each statement execute function netd_radacct_reach();

grant select, insert, update, delete on coa_clients to netd_tenant;
alter table coa_clients enable row level security;
create policy tenant on coa_clients to netd_tenant using (tenant_id = (select netd_scope_tenant()));
create policy whole on coa_clients as restrictive to netd_tenant using ((select netd_scope_whole()));
grant select on radacct_reach to netd_tenant;

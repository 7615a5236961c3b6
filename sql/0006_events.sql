-- What happened, for people and systems around netd; a row is written in the transaction that makes the change. The place of an event in the stream is
-- (xid, id): a transaction's events come once all transactions that began to write before it have ended, so nothing is ever added before a place
-- that was read already.
create table events (
    id            bigint generated always as identity,
    xid           xid8 not null default pg_current_xact_id(),
    tenant_id     bigint not null references tenants,
    at            timestamptz not null default now(),
    type          text not null,                                                 -- subscriber.suspended, session.started …
    object_type   text not null,
    object_id     text not null,
    subscriber_id bigint,                                                        -- whose it is, if anybody's; outlives the subscriber
    site_id       bigint,                                                        -- where it happened, if anywhere
    actor         text,                                                          -- who did it; null: the network, or netd itself
    data          jsonb not null default '{}',                                   -- no secrets
    primary key (xid, id)
);
create index events_tenant on events (tenant_id, xid, id);
create index events_at on events (at);
alter table events enable row level security;
grant select, insert on events to netd_tenant;
create policy tenant on events to netd_tenant using (tenant_id = (select netd_scope_tenant()));
create policy site on events as restrictive for select to netd_tenant
    using ((select netd_scope_whole()) or subscriber_id = (select netd_scope_subscriber())
           or ((select netd_scope_subscriber()) is null and site_id = any((select netd_scope_sites())::bigint[])));

-- What netd tells other systems (webhooks) and is told by them (billing hooks). Secrets are sealed; what is sealed is a JSON list of
-- [secret, until]: the one in force, and while it is being replaced the one before it.

create table webhooks (
    id                bigint generated always as identity primary key,
    tenant_id         bigint not null references tenants,
    name              text not null check (length(name) between 1 and 64),
    url               text not null check (length(url) between 1 and 2000),
    types             text[] not null default '{}',                              -- as model.event.matches; empty: all
    sites             bigint[] check (cardinality(sites) > 0),                   -- tells of these only; null: of the whole tenant
    secrets           bytea not null,                                            -- sealed
    note              text,
    enabled           boolean not null default true,
    disabled_at       timestamptz,
    disabled_reason   text,                                                      -- set where netd gave up
    -- How far it is: behind this event of the stream, and what became of the one that is due.
    after_xid         xid8 not null default '0',
    after_id          bigint not null default 0,
    attempts          integer not null default 0,                                -- failed ones of the event that is due
    failing_since     timestamptz,
    due_at            timestamptz not null default now(),
    last_status       integer,
    last_error        text,
    last_attempt_at   timestamptz,
    last_delivered_at timestamptz,
    -- Who delivers now. Every claim raises fence, every change by an operator version; what was claimed under others is written no more.
    lease_owner       text,
    lease_until       timestamptz,
    fence             bigint not null default 0,
    created_by        text not null,
    version           integer not null default 1,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index webhooks_name on webhooks (tenant_id, lower(name));

create table webhook_deliveries (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null,
    webhook_id  bigint not null,
    delivery_id text not null,                                                   -- as in the header X-Netd-Delivery; the same each time the event is sent
    event_id    text,                                                            -- null: a test
    event_type  text not null,
    at          timestamptz not null,
    attempt     integer not null,
    delivered   boolean not null,
    status      integer,                                                         -- null: no answer
    error       text,
    seconds     double precision not null,
    foreign key (tenant_id, webhook_id) references webhooks (tenant_id, id) on delete cascade
);
create index webhook_deliveries_webhook on webhook_deliveries (webhook_id, id);
create index webhook_deliveries_at on webhook_deliveries (at);

create table billing_hooks (
    id           bigint generated always as identity primary key,
    tenant_id    bigint not null references tenants,
    public_id    text not null,                                                  -- in the path that the billing system calls
    name         text not null check (length(name) between 1 and 64),
    mode         text not null default 'reject' check (mode in ('reject', 'walled')),
    sites        bigint[] check (cardinality(sites) > 0),                        -- reaches subscribers of these only; null: all of the tenant
    secrets      bytea not null,                                                 -- sealed
    note         text,
    enabled      boolean not null default true,
    last_used_at timestamptz,
    created_by   text not null,
    version      integer not null default 1,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    constraint billing_hooks_public_id unique (public_id),
    unique (tenant_id, id)
);
create unique index billing_hooks_name on billing_hooks (tenant_id, lower(name));

-- Written in the transaction that did what the notice asked for, so that sending it again does it once.
create table billing_notices (
    tenant_id   bigint not null,
    hook_id     bigint not null,
    notice_id   text not null check (length(notice_id) between 1 and 255),
    fingerprint bytea not null,                                                  -- of what it asked for
    answer      jsonb,
    at          timestamptz not null default now(),
    primary key (hook_id, notice_id),
    foreign key (tenant_id, hook_id) references billing_hooks (tenant_id, id) on delete cascade
);
create index billing_notices_at on billing_notices (at);

-- A billing hook is asked for before it is known for which tenant, as a token is.
create function netd_billing_hook(wanted text) returns setof billing_hooks language sql stable security definer as $$
    select * from billing_hooks where public_id = wanted
$$;
alter function netd_billing_hook(text) set search_path from current;
revoke execute on function netd_billing_hook(text) from public;
grant execute on function netd_billing_hook(text) to netd_tenant;

do $$
declare
    t text;
begin
    foreach t in array array['webhooks', 'webhook_deliveries', 'billing_hooks', 'billing_notices'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    -- Who may in some sites only sees the hooks that reach no further.
    foreach t in array array['webhooks', 'billing_hooks'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or ((select netd_scope_subscriber()) is null and sites <@ (select netd_scope_sites())::bigint[]))$f$, t);
    end loop;
    create policy site on webhook_deliveries as restrictive to netd_tenant
        using ((select netd_scope_whole()) or exists (select from webhooks w where w.id = webhook_id));
    create policy site on billing_notices as restrictive to netd_tenant
        using ((select netd_scope_whole()) or exists (select from billing_hooks h where h.id = hook_id));
end $$;

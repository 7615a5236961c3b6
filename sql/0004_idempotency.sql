-- What was answered to a request with an Idempotency-Key, so that sending it again does it once. The row is written in the transaction that does
-- the work; the answer, sealed for it may hold a token's text, follows it. A row without an answer is of a request in work, or of one whose answer
-- was lost with the process.
create table idempotency_keys (
    tenant_id   bigint not null references tenants,
    token_id    bigint not null references api_tokens on delete cascade,
    key         text not null check (length(key) between 1 and 255),
    request_id  text not null,                                                   -- of the request that does the work
    fingerprint bytea not null,                                                  -- of method, path and body
    status      integer,
    headers     jsonb,
    body        bytea,                                                           -- sealed
    created_at  timestamptz not null default now(),
    primary key (token_id, key)
);
create index idempotency_keys_created on idempotency_keys (created_at);
alter table idempotency_keys enable row level security;
grant select, insert, update, delete on idempotency_keys to netd_tenant;
create policy tenant on idempotency_keys to netd_tenant using (tenant_id = (select netd_scope_tenant()));

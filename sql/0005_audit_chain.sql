-- Each audit row carries a hash over itself and the hash of the tenant's row before it, so that a changed or removed row shows: the rows after
-- it no longer fit, and audit_heads tells of rows removed from the end. Ids are given in the order of the chain.
create table audit_heads (
    tenant_id bigint primary key references tenants,
    last_id   bigint not null,
    hash      bytea not null
);
alter table audit_heads enable row level security;

alter table audit_log add column hash bytea;

create function netd_audit_hash(before bytea, r audit_log) returns bytea language sql immutable as $$
    select sha256(before || convert_to(jsonb_build_array(
        r.id, r.tenant_id, extract(epoch from r.at)::text, r.actor, r.token_id, host(r.address), r.request_id, r.action, r.object_type, r.object_id,
        r.before, r.after, r.result)::text, 'UTF8'))
$$;

create function netd_chain_audit() returns trigger language plpgsql security definer as $$
declare
    head bytea;
begin
    insert into audit_heads (tenant_id, last_id, hash) values (new.tenant_id, 0, '') on conflict do nothing;
    select h.hash into head from audit_heads h where h.tenant_id = new.tenant_id for update;
    new.id := nextval(pg_get_serial_sequence('audit_log', 'id'));
    new.hash := netd_audit_hash(head, new);
    update audit_heads set last_id = new.id, hash = new.hash where tenant_id = new.tenant_id;
    return new;
end $$;
alter function netd_chain_audit() set search_path from current;
revoke execute on function netd_chain_audit() from public;

-- The rows that are there already.
do $$
declare
    r audit_log;
    tenant bigint;
    head bytea;
begin
    for tenant in select distinct tenant_id from audit_log loop
        head := '';
        for r in select * from audit_log where tenant_id = tenant order by id loop
            head := netd_audit_hash(head, r);
            update audit_log set hash = head where id = r.id;
        end loop;
        insert into audit_heads (tenant_id, last_id, hash) values (tenant, r.id, head);
    end loop;
end $$;
alter table audit_log alter column hash set not null;
create trigger chain before insert on audit_log for each row execute function netd_chain_audit();

-- The chain from after row `start`, whose hash is `head`, over `most` rows: the last row that was looked at, its hash, and the first one that does not fit.
create function netd_verify_audit(tenant bigint, start bigint, head bytea, most integer)
returns table (rows bigint, last_id bigint, last_hash bytea, wrong bigint) language plpgsql stable as $$
declare
    r audit_log;
begin
    rows := 0; last_id := start; last_hash := head;
    for r in select * from audit_log a where a.tenant_id = tenant and a.id > start order by a.id limit most loop
        rows := rows + 1;
        if r.hash is distinct from netd_audit_hash(last_hash, r) then
            wrong := r.id;
            exit;
        end if;
        last_id := r.id; last_hash := r.hash;
    end loop;
    return next;
end $$;
alter function netd_verify_audit(bigint, bigint, bytea, integer) set search_path from current;

grant select on audit_heads to netd_tenant;
create policy tenant on audit_heads to netd_tenant using (tenant_id = (select netd_scope_tenant()) and (select netd_scope_whole()));

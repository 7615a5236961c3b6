-- What each accounting record cost beside its own row: foreign keys, whose checks look up and lock another row for every session and every sum of
-- usage, and log those locks. The reference from a session to its subscriber stays; what the others were for (a deleted NAS leaves its history without
-- the reference, a deleted subscriber takes the daily sums along) triggers do when something is deleted, with the rights of the owner as foreign keys do.
-- A deletion that overtakes a record of the same moment may leave a number that nothing has any more; ids are never used again.
alter table sessions drop constraint sessions_tenant_id_fkey, drop constraint sessions_nas_id_fkey;
alter table radacct drop constraint radacct_tenant_id_fkey;
alter table usage_daily drop constraint usage_daily_tenant_id_fkey, drop constraint usage_daily_subscriber_id_fkey;

create function netd_subscriber_deleted() returns trigger language plpgsql security definer set search_path from current as $$
begin
    delete from usage_daily where subscriber_id = old.id;
    return null;
end $$;
create trigger usage_removed after delete on subscribers for each row execute function netd_subscriber_deleted();

create function netd_nas_deleted() returns trigger language plpgsql security definer set search_path from current as $$
begin
    update sessions set nas_id = null where nas_id = old.id;
    return null;
end $$;
create trigger history_unlinked after delete on nas for each row execute function netd_nas_deleted();

-- A tenant with history cannot be deleted, as before.
create function netd_tenant_kept() returns trigger language plpgsql security definer set search_path from current as $$
begin
    if exists (select from sessions where tenant_id = old.id) or exists (select from radacct where tenant_id = old.id)
        or exists (select from usage_daily where tenant_id = old.id) then
        raise foreign_key_violation using message = format('tenant %s still has sessions or usage', old.id), table = 'tenants';
    end if;
    return old;
end $$;
create trigger history_kept before delete on tenants for each row execute function netd_tenant_kept();

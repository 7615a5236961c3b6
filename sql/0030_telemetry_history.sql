-- Alarms outlive the threshold that raised them: they end with it, and stay as what was. `threshold_id` may name one that is gone; ids are not used twice.
alter table alarms drop constraint alarms_tenant_id_threshold_id_fkey;

-- For how long each look at whether a device is there stands: it was another time where `poll.reach_seconds` was. Null: written before it was kept.
alter table reach_samples add column seconds real;
do $$
declare
    level text;
begin
    foreach level in array array['5m', '1h', '1d'] loop
        execute format('alter table reach_%s add column seconds real, add column down_seconds real', level);
    end loop;
end $$;

-- Where Prometheus reaches a node, for the devices that it polls.
alter table poll_nodes add column scrape_address text;
comment on table poll_shards is 'A device''s shard is made of its id by netd.store.shards.of, so that devices added one after the other are of different nodes.';

-- What came after its span was summed up: from then on it is done again. A row is added with the samples and taken by who sums up, so that neither waits for
-- the other, and nothing that comes while it is done is missed.
create table rollup_late (
    level text not null,                                                            -- no reference to rollups: it would wait for who sums up
    at    timestamptz not null
);
create index rollup_late_level on rollup_late (level);

-- Summing up and top talkers read a few minutes out of a day: samples come in the order of time, so an index of a few pages finds them.
do $$
declare
    t text;
begin
    foreach t in array array['reach_samples', 'device_samples', 'interface_samples', 'optics_samples', 'reach_5m', 'device_5m', 'interface_5m'] loop
        execute format('create index %1$s_at on %1$s using brin (at) with (pages_per_range = 32, autosummarize = on)', t);
    end loop;
end $$;

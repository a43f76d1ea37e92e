-- Peer (ii): reactions in PostgreSQL, as a careful team would build them. One function per toggle keeps row, counts and
-- outbox row in one transaction. The same ids and the same mix as the other engines (benchmarks/cluster/mix.py).
--
-- psql variables: targets, per_target, viral, viral_rows. Run once, on an empty database.

CREATE TABLE header (
    target text PRIMARY KEY,
    seq bigint NOT NULL,
    counts integer[] NOT NULL      -- by reaction code
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);  -- room for updates that touch no index (HOT)

CREATE TABLE reaction (
    target text NOT NULL,
    user_id text NOT NULL,
    reaction smallint NOT NULL,    -- 0: none; rows stay
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (target, user_id)
) WITH (fillfactor = 90);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    seq bigint NOT NULL,
    counts integer[] NOT NULL,
    user_id text NOT NULL,
    before smallint NOT NULL,
    after smallint NOT NULL
);

-- The row first and the header last, so that the one lock everybody wants is held as short as can be: from the header's
-- update to the end of the commit.
CREATE FUNCTION toggle(its_target text, its_user text, wanted smallint) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    was smallint;
    becomes smallint;
    now_counts integer[];
    now_seq bigint;
BEGIN
    SELECT reaction INTO was FROM reaction WHERE target = its_target AND user_id = its_user FOR UPDATE;
    IF FOUND THEN
        becomes := CASE WHEN was = wanted THEN 0 ELSE wanted END;
        UPDATE reaction SET reaction = becomes, updated_at = clock_timestamp()
        WHERE target = its_target AND user_id = its_user;
    ELSE
        was := 0;
        becomes := wanted;
        INSERT INTO reaction VALUES (its_target, its_user, wanted, clock_timestamp(), clock_timestamp())
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN          -- the same user at the same moment: the other one is committed now
            RETURN toggle(its_target, its_user, wanted);
        END IF;
    END IF;
    INSERT INTO header AS h VALUES (its_target, 1, ARRAY[0, 0, 0, 0, 0, 0]) ON CONFLICT DO NOTHING;
    UPDATE header SET seq = seq + 1, counts = ARRAY[
        counts[1] + (becomes = 1)::int - (was = 1)::int, counts[2] + (becomes = 2)::int - (was = 2)::int,
        counts[3] + (becomes = 3)::int - (was = 3)::int, counts[4] + (becomes = 4)::int - (was = 4)::int,
        counts[5] + (becomes = 5)::int - (was = 5)::int, counts[6] + (becomes = 6)::int - (was = 6)::int]
    WHERE target = its_target RETURNING seq, counts INTO now_seq, now_counts;
    INSERT INTO outbox (target, seq, counts, user_id, before, after)
    VALUES (its_target, now_seq, now_counts, its_user, was, becomes);
    RETURN now_counts;
END $$;

INSERT INTO reaction
SELECT format('p%s', lpad(t::text, 9, '0')), format('u%s', lpad(((t * 13 + j * 7919) % 1000000)::text, 9, '0')),
    1 + (t + j) % 6, now(), now()
FROM generate_series(0, :targets - 1) t, generate_series(0, :per_target - 1) j;

INSERT INTO reaction
SELECT format('v%s', lpad(t::text, 9, '0')), format('u%s', lpad(j::text, 9, '0')), 1 + j % 6, now(), now()
FROM generate_series(0, :viral - 1) t, generate_series(0, :viral_rows - 1) j;

INSERT INTO header
SELECT target, count(*), ARRAY[count(*) FILTER (WHERE reaction = 1), count(*) FILTER (WHERE reaction = 2),
    count(*) FILTER (WHERE reaction = 3), count(*) FILTER (WHERE reaction = 4),
    count(*) FILTER (WHERE reaction = 5), count(*) FILTER (WHERE reaction = 6)]
FROM reaction GROUP BY target;

VACUUM ANALYZE;
CHECKPOINT;

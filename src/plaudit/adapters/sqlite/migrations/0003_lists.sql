-- The list of a target with few rows is sorted when somebody asks for it; only targets with more than 256 have their rows
-- in the index. Most targets are small and most taps are on them: without it a tap changes one page less, and a row takes
-- a quarter less room. Once a target has grown, all its rows are listed; one that shrinks again is read either way.
DROP INDEX reactor;

ALTER TABLE reaction_row ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;

UPDATE reaction_row SET listed = 1 WHERE target IN (SELECT no FROM target WHERE rows > 256);

CREATE INDEX reactor ON reaction_row (target, reaction, created_at, user) WHERE listed = 1 AND reaction > 0;

-- The commit that makes a target grow past the limit lists the rows that are there; its own come listed.
CREATE TRIGGER grown AFTER UPDATE OF rows ON target WHEN new.rows > 256 AND old.rows <= 256
BEGIN
    UPDATE reaction_row SET listed = 1 WHERE target = new.no;
END;

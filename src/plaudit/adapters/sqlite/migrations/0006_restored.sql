-- What `seq` targets that are new to this file begin above: 0 in one that was never restored (plaudit.domain.restored).
-- One line. Of a file that was restored before, the newest target tells it.
CREATE TABLE restored (floor INTEGER NOT NULL);

INSERT INTO restored
SELECT CASE WHEN seq >= 1 << 40 THEN seq >> 20 << 20 ELSE 0 END
FROM (SELECT (SELECT seq FROM target ORDER BY no DESC LIMIT 1) AS seq);

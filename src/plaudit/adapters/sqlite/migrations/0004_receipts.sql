-- Receipts are forgotten 30 days after their job ended; this finds them.
CREATE INDEX job_finished ON job (finished_at) WHERE finished_at IS NOT NULL;

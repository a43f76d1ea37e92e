-- What owners were told of a target goes when it is deleted; this finds it.
CREATE INDEX notification_target ON notification (target);

-- Each entry is written with its room's time.
UPDATE room SET last_at = (SELECT at FROM entry WHERE entry.room_id = room.id AND entry.seq = room.last_seq);

select note_key_use($1)

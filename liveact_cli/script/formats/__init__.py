"""Other formats that directions come in: subtitles, tables, the released edit files."""

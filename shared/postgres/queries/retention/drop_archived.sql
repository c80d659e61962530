drop table archive.{leaf}

-- Asked before the file is held: of a file of many chunks most are followed by others.
select not exists (select from chunks where tenant_id = $1 and file_id = $2 and state = 'planned')

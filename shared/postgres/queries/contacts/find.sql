select find_contacts($1, $2) as contact

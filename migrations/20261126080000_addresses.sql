-- Addresses are compared and searched by their bytes, whatever the language of the database: a search for those that begin with a text
-- is a range of orders_by_address then. Changing a collation rewrites no row; it makes the index again.
alter table orders alter column email_key type text collate "C";

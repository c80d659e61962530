-- On Amazon's servers the functions log in with tokens of IAM, which is a role there.
-- https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
do $$
begin
    if exists (select from pg_roles where rolname = 'rds_iam') then
        grant rds_iam to intake_api, intake_loader;
    end if;
end
$$;

-- As for the API: what is compiled for a day's sales takes longer than to count them.
alter role intake_loader set jit = off;

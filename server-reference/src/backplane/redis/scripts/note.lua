-- Stores again what has become of mutations where no change tells of it: a failover may have lost that.
-- collection.lua stands before it.
--
-- KEYS  the collections, six keys each
-- ARGV  for each mutation: the first key of its collection, client, number, verdict
-- Returns how many were not there.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local count = 0
for i = 1, #ARGV, 4 do
  local c, client, number = collection(tonumber(ARGV[i])), ARGV[i + 1], tonumber(ARGV[i + 2])
  local m = redis.call('HMGET', c.meta, 'verdicts', 'verdict_bytes')
  local max_verdicts, max_bytes = tonumber(m[1] or '1'), tonumber(m[2] or '0')
  if not knows_verdict(c, client, number, max_verdicts) then
    remember_verdict(c, client, number, ARGV[i + 3], max_verdicts, max_bytes)
    redis.call('ZADD', c.heard, text(now), client)
    count = count + 1
  end
end
return count

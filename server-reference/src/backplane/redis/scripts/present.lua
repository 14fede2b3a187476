-- Says which sessions are there; records that have the names of others end when their time is over.
-- lane_place.lua and collection.lua stand before it.
--
-- KEYS  2 to 7 the collection   8 leases (sorted set: key by the time in us until which its record lasts)
-- ARGV  3 how long a record lasts after its session was there, in us   then the sessions
-- Returns "ok", then for each record whose time is over: key, version. It is told once.
local c, leases = collection(2), KEYS[8]
local lasts = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function is_there(key)
  return redis.call('ZSCORE', c.latest, key) and not redis.call('ZSCORE', c.deletions, key)
end

for i = 4, #ARGV do
  if is_there(ARGV[i]) then
    redis.call('ZADD', leases, text(now + lasts), ARGV[i])
  end
end
-- Whoever made a record may have gone before saying that it is there. Once is enough for all who ask.
-- And nobody is taken for gone because for a while nobody could say anything.
local scanned = tonumber(redis.call('HGET', c.meta, 'scanned') or '0')
local silent = now - scanned
if silent >= lasts / 5 then
  redis.call('HSET', c.meta, 'scanned', text(now))
  for _, key in ipairs(redis.call('ZRANGE', c.latest, 0, -1)) do
    if silent > lasts / 2 and is_there(key) then
      redis.call('ZADD', leases, text(now + lasts), key)
    elseif is_there(key) then
      redis.call('ZADD', leases, 'NX', text(now + lasts), key)
    end
  end
end
local answer = { 'ok' }
for _, key in ipairs(redis.call('ZRANGE', leases, '-inf', text(now), 'BYSCORE', 'LIMIT', 0, 128)) do
  redis.call('ZREM', leases, key)
  if is_there(key) then
    answer[#answer + 1] = key
    answer[#answer + 1] = text(version_of(c, key))
  end
end
return answer

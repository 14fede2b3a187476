-- Reads changes of a collection after a version, in the order of their versions, the last one of each
-- record. lane_place.lua and collection.lua stand before it.
--
-- KEYS  2 to 7 the collection
-- ARGV  3 after this version, 0 for everything   4 the version up to which there was everything at first
--       5 how many records at most   6 how many bytes, unless one alone has more
--       from 7 on the clients that ask
-- Returns "ok", the version of the collection, "1" if nothing follows, "1" if everything is read anew, then the
-- last number of each client, then the payloads of the changes.
local c = collection(2)
local after, began = tonumber(ARGV[3]), tonumber(ARGV[4])
local most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local version, collection_floor = open(c, math.max(now, tonumber(head)))
local anew = tonumber(redis.call('HGET', c.meta, 'anew') or '0')
local fresh = after == 0
local reset = not fresh and (began < math.max(collection_floor, anew) or began > version)
if fresh or reset then
  after = 0
end
local skips_deletions = after == 0
local changes, bytes, whole, from = {}, 0, false, after
while not whole do
  local found = redis.call('ZRANGE', c.latest, '(' .. text(from), '+inf', 'BYSCORE', 'LIMIT', 0, 64,
    'WITHSCORES')
  whole = #found < 128
  local full = false
  for i = 1, #found, 2 do
    local key = found[i]
    from = tonumber(found[i + 1])
    if not (skips_deletions and redis.call('ZSCORE', c.deletions, key)) then
      local payload = redis.call('HGET', c.records, key) or ''
      bytes = bytes + #payload
      if #changes > 0 and (#changes >= most or bytes > most_bytes) then
        full = true
        break
      end
      changes[#changes + 1] = payload
    end
  end
  if full then
    whole = false
    break
  end
end
local answer = { 'ok', text(version), whole and '1' or '0', reset and '1' or '0' }
for i = 7, #ARGV do
  answer[#answer + 1] = text(last_judged(c, ARGV[i]))
end
for _, payload in ipairs(changes) do
  answer[#answer + 1] = payload
end
return answer

-- Puts back events that a failover has lost, and with those of collections the changes that they tell of.
-- append.lua and collection.lua stand before it.
--
-- KEYS  from 5 on the collections, six keys each
-- ARGV  from 13 on for each event: producer, its number, the place it had, the event, the first key of its
--       collection or "", and for those of collections: key, version, "1" if it is a deletion, client or "",
--       the mutation's number, how many bytes of the event are its payload
-- Returns what publish.lua does.
local function restore(c, i, offset)
  local key, version = ARGV[i + 5], tonumber(ARGV[i + 6])
  local known, collection_floor = open(c, version - 1)
  if version <= collection_floor or version <= version_of(c, key) then
    return
  end
  store(c, key, ARGV[i + 6], string.sub(ARGV[i + 3], -tonumber(ARGV[i + 10])), ARGV[i + 7] == '1')
  if offset ~= version then
    -- Clients may have loaded later changes without this one: who loads anew loads everything.
    redis.call('HSET', c.meta, 'anew', text(offset))
  end
  if offset > known then
    redis.call('HSET', c.meta, 'version', text(offset))
  end
end

local function restore_verdict(c, i)
  local client, number = ARGV[i + 8], tonumber(ARGV[i + 9])
  local _, _, max_verdicts, max_bytes = open(c, 0)
  if client == '' then
    return
  end
  if number >= last_judged(c, client) or not knows_verdict(c, client, number, max_verdicts) then
    remember_verdict(c, client, number, '{"version":' .. ARGV[i + 6] .. '}', max_verdicts, max_bytes)
    redis.call('ZADD', c.heard, text(now), client)
  end
end

local results = { 'ok', epoch, '' }
for i = 13, #ARGV, 11 do
  local offset, was_there = append(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  if ARGV[i + 4] ~= '' and not was_there then
    local c = collection(tonumber(ARGV[i + 4]))
    restore(c, i, tonumber(offset))
    restore_verdict(c, i)
  end
  results[#results + 1] = was_there and '=' .. offset or offset
end
finish()
results[3] = text(head)
return results

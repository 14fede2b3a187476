-- Makes what judged mutations come to, unless what was judged has changed: changes records, publishes the
-- changes, and remembers the verdicts. append.lua and collection.lua stand before it.
--
-- KEYS  5 to 10 the collection
-- ARGV  13 producer of the events: who commits, with one commit on its way at a time
--       14 the version of the last change that its commits before have made, or 0: if there is a later one of
--       its, also one that was put back, this commit was made before
--       15 how many records there are more then
--       16 max records      17 max deletions        18 max clients      19 max verdicts  20 max verdict bytes
--       21 how many records 22 how many mutations   23 how many changes
--       then for each record that was judged: key, its version or 0
--       for each mutation with an id: client, number, before and after the version of its verdict, the rank
--       of that version among the changes or ""
--       for each change: key, "1" if it is a deletion, the event without its payload, the payload in three
--       parts, the version from which on it is alone or, after "+", its rank
-- Returns "changed"; or "done", epoch, head, the offset of the first change or 0.
local c = collection(5)
local producer, before = ARGV[13], tonumber(ARGV[14])
local growth, max_records, max_deletions = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local max_clients, max_verdicts, max_bytes = tonumber(ARGV[18]), tonumber(ARGV[19]), tonumber(ARGV[20])
local records = 24
local mutations = records + 2 * tonumber(ARGV[21])
local changes = mutations + 5 * tonumber(ARGV[22])
local count = tonumber(ARGV[23])
local ends = changes + 7 * count

-- What becomes of the mutations, the changes having versions from `first` on.
local function verdict_of(i, first)
  if ARGV[i + 4] == '' then
    return ARGV[i + 2]
  end
  return ARGV[i + 2] .. text(first + tonumber(ARGV[i + 4])) .. ARGV[i + 3]
end

local last = remembered(producer)
if last and last > before and count > 0 then
  local first = last - count + 1
  -- Who has put the changes back does not know what else was decided.
  for i = mutations, changes - 1, 5 do
    local client, number = ARGV[i], tonumber(ARGV[i + 1])
    if not knows_verdict(c, client, number, max_verdicts) then
      remember_verdict(c, client, number, verdict_of(i, first), max_verdicts, max_bytes)
      redis.call('ZADD', c.heard, text(now), client)
    end
  end
  return { 'done', epoch, text(head), text(first) }
end
for i = records, mutations - 1, 2 do
  if version_of(c, ARGV[i]) ~= tonumber(ARGV[i + 1]) then
    return { 'changed' }
  end
end
if growth > 0 and records_in(c) + growth > max_records then
  return { 'changed' }
end
local seen = {}
for i = mutations, changes - 1, 5 do
  local client = ARGV[i]
  if not seen[client] and last_judged(c, client) >= tonumber(ARGV[i + 1]) then
    return { 'changed' }
  end
  seen[client] = true
end

local version, collection_floor, ring, ring_bytes = open(c, math.max(now, head + 1, given + 1) - 1)
if ring ~= max_verdicts or ring_bytes ~= max_bytes then
  redis.call('HSET', c.meta, 'verdicts', text(max_verdicts), 'verdict_bytes', text(max_bytes))
end
-- A collection may have begun later than its lane's last event.
given = math.max(given, version)

local function forget_deletions()
  local excess = redis.call('ZCARD', c.deletions) - max_deletions
  if excess <= 0 then
    return
  end
  local forgotten = redis.call('ZPOPMIN', c.deletions, excess)
  for i = 1, #forgotten, 2 do
    redis.call('HDEL', c.records, forgotten[i])
    redis.call('ZREM', c.latest, forgotten[i])
    collection_floor = math.max(collection_floor, tonumber(forgotten[i + 1]))
  end
  redis.call('HSET', c.meta, 'floor', text(collection_floor))
end

-- Offsets are consecutive: those after the first are each one more than the one before.
local first = math.max(now, head + 1, given + 1)
for i = changes, ends - 1, 7 do
  local key, since = ARGV[i], ARGV[i + 6]
  if string.sub(since, 1, 1) == '+' then
    since = text(first + tonumber(string.sub(since, 2)))
  end
  local payload
  append(producer, nil, '', function(offset)
    payload = ARGV[i + 3] .. offset .. ARGV[i + 4] .. since .. ARGV[i + 5]
    return ARGV[i + 2] .. payload
  end)
  store(c, key, text(head), payload, ARGV[i + 1] == '1')
  if ARGV[i + 1] == '1' then
    forget_deletions()
  end
end
if ends > changes then
  redis.call('HSET', c.meta, 'version', text(head))
end
for i = mutations, changes - 1, 5 do
  remember_verdict(c, ARGV[i], tonumber(ARGV[i + 1]), verdict_of(i, first), max_verdicts, max_bytes)
end
for client in pairs(seen) do
  redis.call('ZADD', c.heard, text(now), client)
end
local silent = redis.call('ZCARD', c.heard) - max_clients
if silent > 0 then
  local gone = redis.call('ZPOPMIN', c.heard, silent)
  for i = 1, #gone, 2 do
    forget_client(c, gone[i], max_verdicts)
  end
end
finish()
return { 'done', epoch, text(head), text(ends > changes and first or 0) }

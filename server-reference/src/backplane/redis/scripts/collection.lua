-- What scripts that know collections begin with. Versions are offsets of the collection's lane: that of
-- a change is where its event stood first.
--
-- KEYS  from `first` on: records (hash: key to the payload of its last change), latest (sorted set: key by
--       version), deletions (those of them that were deletions), meta (hash: version, floor, verdicts,
--       verdict_bytes, and anew: who has loaded no more than that loads everything), judged (hash: what became
--       of mutations), heard (sorted set: client by when it was heard last)
local function collection(first)
  return {
    records = KEYS[first], latest = KEYS[first + 1], deletions = KEYS[first + 2],
    meta = KEYS[first + 3], judged = KEYS[first + 4], heard = KEYS[first + 5],
  }
end

local function text(number)
  return string.format('%.0f', number)
end

-- The version of the last change, the one from which on all deletions are remembered (both are `begin` for
-- a collection that begins with this), and how many verdicts are kept of each client, and how many bytes.
local function open(c, begin)
  local m = redis.call('HMGET', c.meta, 'version', 'floor', 'verdicts', 'verdict_bytes')
  if not m[1] then
    redis.call('HSET', c.meta, 'version', text(begin), 'floor', text(begin))
    return begin, begin, 1, 0
  end
  return tonumber(m[1]), tonumber(m[2]), tonumber(m[3] or '1'), tonumber(m[4] or '0')
end

local function records_in(c)
  return redis.call('ZCARD', c.latest) - redis.call('ZCARD', c.deletions)
end

local function version_of(c, key)
  return tonumber(redis.call('ZSCORE', c.latest, key) or '0')
end

-- The number of the last mutation of a client that was judged.
local function last_judged(c, client)
  return tonumber(redis.call('HGET', c.judged, 'n' .. client) or '0')
end

local function store(c, key, version, payload, is_deletion)
  redis.call('HSET', c.records, key, payload)
  redis.call('ZADD', c.latest, version, key)
  if is_deletion then
    redis.call('ZADD', c.deletions, version, key)
  else
    redis.call('ZREM', c.deletions, key)
  end
end

-- Verdicts stand in a ring, so that those of one client take the place of its own earlier ones.
local function verdict_field(client, number, max_verdicts)
  return text(number % max_verdicts) .. ':' .. client
end

local function knows_verdict(c, client, number, max_verdicts)
  local kept = redis.call('HGET', c.judged, verdict_field(client, number, max_verdicts))
  return kept and string.match(kept, '^%d+') == text(number)
end

-- The oldest are forgotten if all have too many bytes; 'b' says how many they have, and which is the oldest.
-- What is put back may be older than the last one.
local function remember_verdict(c, client, number, verdict, max_verdicts, max_bytes)
  local newest = math.max(number, last_judged(c, client))
  if number <= newest - max_verdicts then
    return
  end
  local known = redis.call('HGET', c.judged, 'b' .. client) or '0:' .. text(number)
  local bytes, oldest = string.match(known, '(%d+):(%d+)')
  bytes, oldest = tonumber(bytes), tonumber(oldest)
  local function forget(at)
    local field = verdict_field(client, at, max_verdicts)
    local kept = redis.call('HGET', c.judged, field)
    if kept and string.match(kept, '^%d+') == text(at) then
      redis.call('HDEL', c.judged, field)
      bytes = bytes - (#kept - #text(at) - 1)
    end
  end
  -- No more are there than the ring has places, however many numbers the client has left out.
  for _ = 1, max_verdicts do
    if oldest > newest - max_verdicts then
      break
    end
    forget(oldest)
    oldest = oldest + 1
  end
  oldest = math.min(math.max(oldest, newest - max_verdicts + 1), number)
  forget(number)
  local field = verdict_field(client, number, max_verdicts)
  redis.call('HSET', c.judged, 'n' .. client, text(newest), field, text(number) .. ':' .. verdict)
  bytes = bytes + #verdict
  for _ = 1, max_verdicts do
    if bytes <= max_bytes then
      break
    end
    forget(oldest)
    oldest = oldest + 1
  end
  redis.call('HSET', c.judged, 'b' .. client, text(bytes) .. ':' .. text(oldest))
end

local function forget_client(c, client, max_verdicts)
  redis.call('HDEL', c.judged, 'n' .. client, 'b' .. client)
  for n = 0, max_verdicts - 1 do
    redis.call('HDEL', c.judged, verdict_field(client, n, max_verdicts))
  end
end

-- What scripts that append to a lane begin with: each event has one effect however often it is published,
-- offsets only grow, what the retention does not cover goes, and readers are told with the place of the
-- event before.
--
-- KEYS  1 stream, 2 meta, 3 and 4 two generations of what is remembered of producers
-- ARGV  1 channel            2 priority           3 epoch known to the caller, or 0
--       4 head known to it   5 max events         6 max bytes        7 max age in us
--       8 producer ttl in us 9 max producers     10 epoch of a new history
--      11 "1" to put back what a failover has lost, each event at the place it had if that is free
--      12 no offset up to this one is given out
-- Returns "behind", epoch, head if the log lacks what the caller knows of.
local stream, meta = KEYS[1], KEYS[2]
local known_epoch, known_head = ARGV[3], tonumber(ARGV[4])
local max_events, max_bytes, max_age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ttl, max_producers, putting_back = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[11] == '1'

local function text(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local m = redis.call('HMGET', meta, 'epoch', 'head', 'floor', 'bytes', 'generation', 'since', 'swept')
local epoch, head, floor = m[1], tonumber(m[2] or '0'), tonumber(m[3] or '0')
local bytes, generation = tonumber(m[4] or '0'), m[5] or '0'
local since, swept = tonumber(m[6] or '0'), tonumber(m[7] or '0')
if not epoch then
  epoch = ARGV[10]
  head = math.max(now - 1, known_head, tonumber(ARGV[12]))
  floor, since = head, now
end
local count = redis.call('XLEN', stream)
if count == 0 then
  -- Nothing was published for so long that all of it has expired.
  floor, bytes = head, 0
end
if epoch == known_epoch and head < known_head and not putting_back then
  return { 'behind', epoch, text(head) }
end
local given = tonumber(ARGV[12])

-- Producers silent for longer than one generation are forgotten with the second.
local current = (generation == '0') and KEYS[3] or KEYS[4]
local former = (generation == '0') and KEYS[4] or KEYS[3]
-- Keys that are made now have no expiry yet.
local renewed = count == 0
if now - since > ttl or redis.call('HLEN', current) >= max_producers then
  redis.call('UNLINK', former)
  current, former = former, current
  generation = (generation == '0') and '1' or '0'
  since, renewed = now, true
end

local function remembered(producer)
  local known = redis.call('HGET', current, producer) or redis.call('HGET', former, producer)
  if not known then
    return nil, 0
  end
  local last, trimmed = string.match(known, '(%d+):(%d+)')
  return tonumber(last), tonumber(trimmed)
end

local function remember(producer, last, trimmed)
  redis.call('HSET', current, producer, text(last) .. ':' .. text(trimmed))
end

local function is_of(entry, producer, number)
  local fields = entry[2]
  return fields[2] == producer and fields[4] == number
end

-- Where the event with this number stands, newest first: what is sent again was sent lately.
local function find(producer, number)
  local upto = '+'
  while true do
    local entries = redis.call('XREVRANGE', stream, upto, '-', 'COUNT', 64)
    for _, entry in ipairs(entries) do
      if is_of(entry, producer, number) then
        return string.match(entry[1], '%d+')
      end
    end
    if #entries < 64 then
      return nil
    end
    upto = '(' .. entries[64][1]
  end
end

local notices = {}

-- Whether this event stands there. Two masters may have given the place to two events.
local function stands(at, producer, number)
  local entry = redis.call('XRANGE', stream, at .. '-0', at .. '-0')[1]
  return entry and is_of(entry, producer, number)
end

-- Appends an event, unless it is there: its producer has published it under this number, or it stands at
-- the place `at` that it had. Returns its offset, and whether it was there (0: its place is not known any
-- more). `event` may be a function that makes it from its offset, which is then its number, too.
local function append(producer, number, at, event)
  local original, last, trimmed = nil, nil, 0
  local place = tonumber(at)
  if place and place <= head then
    if place <= floor then
      original = '0'
    elseif stands(at, producer, number) then
      original = at
    end
  end
  if not original and producer ~= '' then
    last, trimmed = remembered(producer)
    if last and number and tonumber(number) <= last then
      original = find(producer, number)
      if not original and tonumber(number) <= trimmed then
        original = '0'
      end
    end
  end
  if original then
    -- Also a write: who waits for replicas after it waits for those that have the original.
    if producer ~= '' and last then
      remember(producer, last, trimmed)
    end
    return original, true
  end
  local moved = ''
  local offset
  if place and place > head then
    offset = place
  else
    offset = math.max(now, head + 1, given + 1)
    moved = at
  end
  local id = text(offset)
  if not number then
    number, event = id, event(id)
  end
  if moved == '' then
    redis.call('XADD', stream, id .. '-0', 'p', producer, 's', number, 'e', event)
  else
    redis.call('XADD', stream, id .. '-0', 'p', producer, 's', number, 'e', event, 'm', moved)
  end
  notices[#notices + 1] = table.concat({
    id, text(head), moved, #producer, number, #event, producer .. event,
  }, ':')
  head = offset
  count = count + 1
  bytes = bytes + #event
  if producer ~= '' then
    remember(producer, math.max(last or 0, tonumber(number)), trimmed)
  end
  return id, false
end

-- After the last event.
local function finish()
  -- Letting go costs reading what goes: done for several at once, a little late.
  local slack = math.max(16, math.floor(max_events / 16))
  if renewed or now - swept > 1000000 or count > max_events + slack
      or bytes > max_bytes + max_bytes / 16 then
    swept = now
    local gone = {}
    local done = false
    while not done do
      local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', 64)
      local upto
      done = #entries < 64
      for _, entry in ipairs(entries) do
        local offset = tonumber(string.match(entry[1], '%d+'))
        if count <= max_events and bytes <= max_bytes and offset >= now - max_age then
          done = true
          break
        end
        local fields = entry[2]
        count = count - 1
        bytes = bytes - #fields[6]
        floor, upto = offset, offset
        gone[fields[2]] = math.max(gone[fields[2]] or 0, tonumber(fields[4]) or 0)
      end
      if upto then
        redis.call('XTRIM', stream, 'MINID', text(upto + 1))
      end
    end
    for producer, number in pairs(gone) do
      local last, trimmed = remembered(producer)
      if last and number > trimmed then
        remember(producer, last, number)
      end
    end
    -- Of lanes nobody publishes to any more nothing is kept but their meta.
    redis.call('PEXPIRE', stream, text(max_age / 1000 + 60000))
    redis.call('PEXPIRE', current, text(ttl / 1000 * 2))
  end

  redis.call('HSET', meta, 'epoch', epoch, 'head', text(head), 'floor', text(floor), 'bytes', text(bytes),
    'generation', generation, 'since', text(since), 'swept', text(swept))
  if #notices > 0 then
    redis.call('SPUBLISH', ARGV[1], 'E' .. ARGV[2] .. epoch .. ':' .. table.concat(notices))
  end
end

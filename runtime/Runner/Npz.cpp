#include "runtime/Runner/Npz.h"

#include "runtime/Core/Arena.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstring>
#include <zlib.h>

// The container is PKWARE's APPNOTE.TXT 6.3.10, as much of it as numpy and
// ordinary zip tools write: stored and deflated members, zip64.

namespace moe::rt {
namespace {

constexpr uint32_t localSignature = 0x04034b50;
constexpr uint32_t centralSignature = 0x02014b50;
constexpr uint32_t endSignature = 0x06054b50;
constexpr uint32_t end64Signature = 0x06064b50;
constexpr uint32_t locator64Signature = 0x07064b50;
constexpr uint16_t zip64Tag = 1;
constexpr uint32_t saturated32 = 0xFFFFFFFF;

struct Member {
  std::string_view name;
  uint16_t flags;
  uint16_t method;
  uint32_t checksum;
  uint64_t packed;
  uint64_t unpacked;
  uint64_t offset; // of its local header
};

/// Little-endian fields; callers check bounds with has().
class Reader {
public:
  Reader(std::string_view bytes) : bytes(bytes) {}
  bool has(uint64_t offset, uint64_t size) const {
    return offset <= bytes.size() && size <= bytes.size() - offset;
  }
  template <typename T>
  T get(uint64_t offset) const {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
  }
  uint16_t u16(uint64_t offset) const { return get<uint16_t>(offset); }
  uint32_t u32(uint64_t offset) const { return get<uint32_t>(offset); }
  uint64_t u64(uint64_t offset) const { return get<uint64_t>(offset); }

  std::string_view bytes;
};

class ZipReader {
public:
  ZipReader(std::string_view bytes, const std::string &what)
      : in(bytes), what(what) {}

  Result<std::vector<Member>> members();
  Result<Buffer> extract(const Member &member);

private:
  Status bad(const std::string &why) const {
    return {Code::InvalidFile, quote(what) + " " + why};
  }
  bool readZip64(Member &member, uint64_t at, uint64_t size);

  Reader in;
  const std::string &what;
};

/// Sizes that do not fit 32 bits follow in an extra field, in this order.
bool ZipReader::readZip64(Member &member, uint64_t at, uint64_t size) {
  uint64_t *fields[] = {&member.unpacked, &member.packed, &member.offset};
  bool needed = false;
  for (uint64_t *field : fields)
    needed |= *field == saturated32;
  if (!needed)
    return true;
  for (uint64_t end = at + size; at + 4 <= end;) {
    uint16_t tag = in.u16(at), length = in.u16(at + 2);
    at += 4;
    if (at + length > end)
      return false;
    if (tag == zip64Tag) {
      uint64_t field = at;
      for (uint64_t *value : fields) {
        if (*value != saturated32)
          continue;
        if (field + 8 > at + length)
          return false;
        *value = in.u64(field);
        field += 8;
      }
      return true;
    }
    at += length;
  }
  return false;
}

Result<std::vector<Member>> ZipReader::members() {
  uint64_t size = in.bytes.size();
  if (size < 22)
    return bad("is not an .npz file: it is too short for a zip archive");
  // The end record is last, but for a comment of at most 64 KB.
  uint64_t lowest = size - std::min<uint64_t>(size, 22 + 65535);
  uint64_t end = size - 22;
  while (in.u32(end) != endSignature || end + 22 + in.u16(end + 20) != size) {
    if (end == lowest)
      return bad("is not an .npz file, or truncated: no zip directory");
    --end;
  }
  uint64_t count = in.u16(end + 10), length = in.u32(end + 12),
           start = in.u32(end + 16);
  if (end >= 20 && in.u32(end - 20) == locator64Signature) {
    uint64_t end64 = in.u64(end - 12);
    if (!in.has(end64, 56) || in.u32(end64) != end64Signature)
      return bad("has a damaged zip64 directory");
    count = in.u64(end64 + 32);
    length = in.u64(end64 + 40);
    start = in.u64(end64 + 48);
  }
  if (!in.has(start, length) || count > length / 46)
    return bad("has a damaged zip directory");
  std::vector<Member> all;
  uint64_t at = start, directoryEnd = start + length;
  for (uint64_t i = 0; i < count; ++i) {
    if (directoryEnd - at < 46 || in.u32(at) != centralSignature)
      return bad("has a damaged zip directory");
    uint64_t nameLength = in.u16(at + 28), extraLength = in.u16(at + 30);
    uint64_t entry = 46 + nameLength + extraLength + in.u16(at + 32);
    if (directoryEnd - at < entry)
      return bad("has a damaged zip directory");
    Member member;
    member.flags = in.u16(at + 8);
    member.method = in.u16(at + 10);
    member.checksum = in.u32(at + 16);
    member.packed = in.u32(at + 20);
    member.unpacked = in.u32(at + 24);
    member.offset = in.u32(at + 42);
    member.name = in.bytes.substr(at + 46, nameLength);
    if (!readZip64(member, at + 46 + nameLength, extraLength))
      return bad("has a damaged zip64 field");
    all.push_back(member);
    at += entry;
  }
  return all;
}

Result<Buffer> ZipReader::extract(const Member &member) {
  std::string name = quote(member.name);
  if (member.flags & 1)
    return bad("has the encrypted member " + name);
  if (member.method != 0 && member.method != 8)
    return bad(text("packs ", name, " by zip method ", member.method,
                    "; known are 0 (stored) and 8 (deflated)"));
  if (!in.has(member.offset, 30) || in.u32(member.offset) != localSignature)
    return bad("has a damaged entry " + name);
  uint64_t data = member.offset + 30 + in.u16(member.offset + 26) +
                  in.u16(member.offset + 28);
  if (!in.has(data, member.packed))
    return bad("is truncated in " + name);
  // Deflate expands at most 1032-fold (zlib's technical notes).
  bool plausible = member.method == 0
                       ? member.packed == member.unpacked
                       : member.unpacked / 1032 <= member.packed + 1;
  if (!plausible)
    return bad("has an impossible size for " + name);
  if (member.unpacked > physicalMemory())
    return {Code::OutOfMemory,
            text(quote(what), ": ", name, " has ", member.unpacked,
                 " bytes, more than this machine's memory")};
  Result<Buffer> out = Buffer::create(member.unpacked);
  if (!out)
    return out.error();
  std::string_view packed = in.bytes.substr(data, member.packed);
  if (member.method == 0) {
    std::memcpy(out->data(), packed.data(), packed.size());
  } else {
    z_stream stream = {};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
      return {Code::OutOfMemory, "cannot start inflate"};
    uint64_t read = 0, written = 0;
    int state = Z_OK;
    constexpr uint64_t step = 1 << 30; // zlib counts in 32 bits
    unsigned char none;
    while (state == Z_OK) {
      uint64_t inputs = std::min(step, packed.size() - read);
      uint64_t room = std::min(step, member.unpacked - written);
      stream.next_in = reinterpret_cast<unsigned char *>(
          const_cast<char *>(packed.data() + read));
      stream.avail_in = static_cast<uInt>(inputs);
      stream.next_out =
          room ? reinterpret_cast<unsigned char *>(out->data() + written)
               : &none;
      stream.avail_out = static_cast<uInt>(room);
      state = inflate(&stream, Z_NO_FLUSH);
      read += inputs - stream.avail_in;
      written += room - stream.avail_out;
    }
    inflateEnd(&stream);
    if (state != Z_STREAM_END || written != member.unpacked)
      return bad("has damaged data in " + name);
  }
  uint32_t checksum = static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<unsigned char *>(out->data()), out->size()));
  if (checksum != member.checksum)
    return bad("has damaged data in " + name + ": its checksum is wrong");
  return out;
}

/// Little-endian fields of what we write.
class Record {
public:
  Record &u16(uint64_t value) { return put(value, 2); }
  Record &u32(uint64_t value) { return put(value, 4); }
  Record &u64(uint64_t value) { return put(value, 8); }
  Record &raw(std::string_view data) {
    bytes += data;
    return *this;
  }
  std::string bytes;

private:
  Record &put(uint64_t value, int size) {
    for (int i = 0; i < size; ++i)
      bytes += static_cast<char>(value >> 8 * i & 0xFF);
    return *this;
  }
};

/// 1 January 1980, so that equal contents make equal files.
constexpr uint32_t fixedDate = 0x00210000;

} // namespace

Result<std::vector<Array>> parseNpz(std::string_view bytes,
                                    const std::string &what) {
  ZipReader zip(bytes, what);
  auto members = zip.members();
  if (!members)
    return members.error();
  std::vector<Array> arrays;
  for (const Member &member : *members) {
    std::string_view name = member.name;
    constexpr std::string_view suffix = ".npy";
    if (name.size() < suffix.size() ||
        name.substr(name.size() - suffix.size()) != suffix)
      return {Code::InvalidFile, quote(what) + " has the member " +
                                     quote(name) +
                                     ", which is not a .npy array"};
    auto data = zip.extract(member);
    if (!data)
      return data.error();
    auto array = parseNpy(data->view(), what + ":" + std::string(name));
    if (!array)
      return array.error();
    array->name = name.substr(0, name.size() - suffix.size());
    std::replace(array->name.begin(), array->name.end(), '|', '/');
    for (const Array &other : arrays)
      if (other.name == array->name)
        return {Code::InvalidFile,
                quote(what) + " holds " + quote(array->name) + " twice"};
    arrays.push_back(std::move(*array));
  }
  return arrays;
}

Result<std::vector<Array>> readNpz(const std::string &path) {
  Result<Buffer> bytes = readFile(path);
  if (!bytes)
    return bytes.error();
  return parseNpz(bytes->view(), path);
}

Status writeNpz(const std::string &path,
                const std::vector<NamedTensor> &tensors) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.error();
  std::string directory;
  uint64_t offset = 0;
  auto put = [&](std::string_view bytes) {
    (*file)->write(bytes);
    offset += bytes.size();
  };
  for (const NamedTensor &named : tensors) {
    std::string name = named.name + ".npy";
    std::replace(name.begin(), name.end(), '/', '|');
    std::string header = npyHeader(named.tensor);
    std::string_view data(static_cast<const char *>(named.tensor.data),
                          static_cast<size_t>(*byteSize(named.tensor)));
    auto bytesOf = [](std::string_view text) {
      return reinterpret_cast<const unsigned char *>(text.data());
    };
    uint64_t checksum =
        crc32_z(crc32_z(0, bytesOf(header), header.size()),
                data.empty() ? bytesOf(header) : bytesOf(data), data.size());
    uint64_t size = header.size() + data.size(), start = offset;
    // The extra field holds all three, so the directory's may be the same.
    bool wide = size >= saturated32 || start >= saturated32;
    Record extra;
    if (wide)
      extra.u16(zip64Tag).u16(24).u64(size).u64(size).u64(start);
    auto shared = [&](Record &record) {
      // version 4.5, flag 11: UTF-8 names, method 0: stored
      record.u16(45).u16(1 << 11).u16(0).u32(fixedDate).u32(checksum);
      record.u32(wide ? saturated32 : size).u32(wide ? saturated32 : size);
      record.u16(name.size()).u16(extra.bytes.size());
    };
    Record local;
    local.u32(localSignature);
    shared(local);
    put(local.raw(name).raw(extra.bytes).bytes);
    put(header);
    put(data);
    Record central;
    central.u32(centralSignature).u16(45);
    shared(central);
    central.u16(0).u16(0).u16(0).u32(0).u32(wide ? saturated32 : start);
    directory += central.raw(name).raw(extra.bytes).bytes;
  }
  uint64_t start = offset, count = tensors.size();
  put(directory);
  Record end;
  if (offset >= saturated32 || count >= 0xFFFF) {
    end.u32(end64Signature).u64(44).u16(45).u16(45).u32(0).u32(0);
    end.u64(count).u64(count).u64(directory.size()).u64(start);
    end.u32(locator64Signature).u32(0).u64(offset).u32(1);
  }
  end.u32(endSignature).u16(0).u16(0);
  end.u16(std::min<uint64_t>(count, 0xFFFF))
      .u16(std::min<uint64_t>(count, 0xFFFF))
      .u32(std::min<uint64_t>(directory.size(), saturated32))
      .u32(std::min<uint64_t>(start, saturated32))
      .u16(0);
  put(end.bytes);
  return (*file)->commit();
}

} // namespace moe::rt

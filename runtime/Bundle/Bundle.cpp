#include "runtime/Bundle/Bundle.h"

#include "runtime/Bundle/Bundle_generated.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace moe::rt {
namespace {

constexpr uint16_t majorVersion = 1;
constexpr uint16_t minorVersion = 0;
constexpr uint32_t endianMark = 0x01020304;
constexpr uint64_t sectionAlignment = 4096;
constexpr uint64_t largestManifest = 64 << 20;
constexpr std::string_view trailerMagic{"MOEBEND\0", 8};

struct Header {
  char magic[8];
  uint16_t major;
  uint16_t minor;
  uint32_t endian;
};
static_assert(sizeof(Header) == 16);

struct Trailer {
  uint64_t manifestOffset;
  uint64_t manifestSize;
  uint8_t manifestHash[32];
  char reserved[8];
  char magic[8];
};
static_assert(sizeof(Trailer) == 64);

template <typename T>
std::string_view bytesOf(const T &value) {
  return {reinterpret_cast<const char *>(&value), sizeof(T)};
}

std::string orEmpty(const flatbuffers::String *text) {
  return text ? text->str() : std::string();
}

} // namespace

const std::string_view bundleMagic{"MOEBNDL\0", 8};

const BundleSection *BundleInfo::find(std::string_view kind) const {
  for (const BundleSection &section : sections)
    if (section.kind == kind)
      return &section;
  return nullptr;
}

Result<BundleInfo> parseBundle(std::string_view bytes,
                               const std::string &what) {
  auto bad = [&](const std::string &why) {
    return Status(Code::InvalidFile, quote(what) + " " + why);
  };
  if (bytes.substr(0, bundleMagic.size()) != bundleMagic)
    return bad("is not a bundle: it does not start with MOEBNDL");
  if (bytes.size() < sizeof(Header) + sizeof(Trailer))
    return bad("is a truncated bundle");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.endian != endianMark)
    return bad("was made for the other byte order");
  if (header.major != majorVersion)
    return Status(Code::Unsupported,
                  text(quote(what), " is a bundle of version ", header.major,
                       ".", header.minor, ", known is ", majorVersion, ".",
                       minorVersion));
  Trailer trailer;
  std::memcpy(&trailer, bytes.data() + bytes.size() - sizeof(trailer),
              sizeof(trailer));
  if (std::string_view(trailer.magic, 8) != trailerMagic)
    return bad("is a truncated bundle");
  uint64_t end = bytes.size() - sizeof(trailer);
  if (trailer.manifestOffset > end ||
      trailer.manifestSize > end - trailer.manifestOffset ||
      trailer.manifestSize > largestManifest)
    return bad("is a damaged bundle: its manifest lies outside");
  std::string_view packed =
      bytes.substr(trailer.manifestOffset, trailer.manifestSize);
  Sha256::Digest digest = Sha256::of(packed);
  if (std::memcmp(digest.data(), trailer.manifestHash, digest.size()) != 0)
    return bad("is a damaged bundle: its manifest has another hash");
  // FlatBuffers want alignment, which the file does not promise.
  Result<Buffer> aligned = Buffer::create(packed.size());
  if (!aligned)
    return aligned.error();
  std::memcpy(aligned->data(), packed.data(), packed.size());
  flatbuffers::Verifier verifier(
      reinterpret_cast<const uint8_t *>(aligned->data()), aligned->size());
  if (!bundle::VerifyManifestBuffer(verifier))
    return bad("is a damaged bundle: its manifest is malformed");
  const bundle::Manifest *manifest = bundle::GetManifest(aligned->data());
  BundleInfo info;
  info.name = manifest->name()->str();
  info.producer = orEmpty(manifest->producer());
  info.cpuFeatures = orEmpty(manifest->cpu_features());
  for (const bundle::Section *section : *manifest->sections()) {
    BundleSection entry;
    entry.kind = section->kind()->str();
    entry.target = orEmpty(section->target());
    entry.offset = section->offset();
    entry.size = section->size();
    if (entry.offset > end || entry.size > end - entry.offset ||
        entry.offset % sectionAlignment ||
        section->hash()->size() != entry.hash.size())
      return bad("is a damaged bundle: bad section " + quote(entry.kind));
    std::copy(section->hash()->begin(), section->hash()->end(),
              entry.hash.begin());
    info.sections.push_back(entry);
  }
  return info;
}

Status verifySection(std::string_view bytes, const BundleSection &section,
                     const std::string &what) {
  if (Sha256::of(bytes.substr(section.offset, section.size)) == section.hash)
    return {};
  return {Code::InvalidFile, quote(what) + " is a damaged bundle: section " +
                                 quote(section.kind) + " has another hash"};
}

Result<std::unique_ptr<BundleWriter>>
BundleWriter::create(const std::string &path, const BundleInfo &info) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.error();
  std::unique_ptr<BundleWriter> writer(new BundleWriter);
  writer->file = std::move(*file);
  writer->info = info;
  writer->info.sections.clear();
  Header header = {{}, majorVersion, minorVersion, endianMark};
  std::memcpy(header.magic, bundleMagic.data(), sizeof(header.magic));
  writer->put(bytesOf(header));
  return writer;
}

void BundleWriter::put(std::string_view bytes) {
  file->write(bytes);
  offset += bytes.size();
}

void BundleWriter::align(uint64_t multiple) {
  static const char zeros[sectionAlignment] = {};
  put({zeros, (multiple - offset % multiple) % multiple});
}

void BundleWriter::beginSection(const std::string &kind,
                                const std::string &target) {
  align(sectionAlignment);
  info.sections.push_back({kind, target, offset, 0, {}});
  hash = {};
}

void BundleWriter::append(std::string_view bytes) {
  hash.update(bytes);
  put(bytes);
}

void BundleWriter::endSection() {
  BundleSection &section = info.sections.back();
  section.size = offset - section.offset;
  section.hash = hash.finish();
}

Result<uint64_t> BundleWriter::reserveSection(const std::string &kind,
                                              const std::string &target,
                                              uint64_t size) {
  beginSection(kind, target);
  Result<uint64_t> at = file->reserve(size);
  if (at)
    offset += size;
  return at;
}

Status BundleWriter::finishReserved() {
  BundleSection &section = info.sections.back();
  section.size = offset - section.offset;
  Result<Buffer> piece = Buffer::create(uint64_t(1) << 20);
  if (!piece)
    return piece.error();
  for (uint64_t done = 0; done < section.size;) {
    uint64_t wanted = std::min(piece->size(), section.size - done);
    ssize_t got = pread(descriptor(), piece->data(), wanted,
                        static_cast<off_t>(section.offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return systemError("read back", section.kind, got ? errno : EIO);
    hash.update({piece->data(), static_cast<size_t>(got)});
    done += static_cast<uint64_t>(got);
  }
  section.hash = hash.finish();
  return {};
}

Status BundleWriter::commit() {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<bundle::Section>> sections;
  for (const BundleSection &section : info.sections) {
    auto kind = builder.CreateString(section.kind);
    auto target = builder.CreateString(section.target);
    auto digest =
        builder.CreateVector(section.hash.data(), section.hash.size());
    sections.push_back(bundle::CreateSection(
        builder, kind, target, section.offset, section.size, digest));
  }
  auto name = builder.CreateString(info.name);
  auto producer = builder.CreateString(info.producer);
  auto features = builder.CreateString(info.cpuFeatures);
  auto list = builder.CreateVector(sections);
  bundle::FinishManifestBuffer(
      builder, bundle::CreateManifest(builder, name, producer, features, list));
  std::string_view manifest(
      reinterpret_cast<const char *>(builder.GetBufferPointer()),
      builder.GetSize());
  align(64);
  Trailer trailer = {};
  trailer.manifestOffset = offset;
  trailer.manifestSize = manifest.size();
  Sha256::Digest digest = Sha256::of(manifest);
  std::copy(digest.begin(), digest.end(), trailer.manifestHash);
  std::memcpy(trailer.magic, trailerMagic.data(), sizeof(trailer.magic));
  put(manifest);
  put(bytesOf(trailer));
  return file->commit();
}

} // namespace moe::rt

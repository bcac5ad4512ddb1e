#include "runtime/Bundle/Manifest.h"

#include "runtime/Bundle/Bundle.h"
#include "runtime/Core/Text.h"

#include <cstring>
#include <elf.h>

namespace moe::rt {

const std::string_view elfMagic{ELFMAG, SELFMAG};

namespace {

/// Copies the structure at `at`; false where it lies outside.
template <typename T>
bool readAt(std::string_view bytes, uint64_t at, T &to) {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at)
    return false;
  std::memcpy(&to, bytes.data() + at, sizeof(T));
  return true;
}

/// The contents of a section, empty where it lies outside.
std::string_view contents(std::string_view bytes, const Elf64_Shdr &section) {
  if (section.sh_type == SHT_NOBITS || section.sh_offset > bytes.size() ||
      section.sh_size > bytes.size() - section.sh_offset)
    return {};
  return bytes.substr(section.sh_offset, section.sh_size);
}

Result<std::string_view> findInElf(std::string_view bytes,
                                   const std::string &what) {
  auto bad = [&](const char *why) {
    return Status(Code::InvalidFile, quote(what) + " " + why);
  };
  Elf64_Ehdr header;
  if (!readAt(bytes, 0, header))
    return bad("is a truncated ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB)
    return Status(Code::Unsupported,
                  quote(what) + " is an ELF file, but not one of 64 bits and "
                                "little endian");
  Elf64_Shdr names;
  if (header.e_shnum == 0)
    return bad("has no table of sections, where its manifest would be listed");
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > bytes.size())
    return bad("is a damaged ELF file: bad table of sections");
  auto section = [&](uint64_t i, Elf64_Shdr &to) {
    return readAt(bytes, header.e_shoff + i * sizeof(Elf64_Shdr), to);
  };
  if (header.e_shstrndx >= header.e_shnum || !section(header.e_shstrndx, names))
    return bad("is a damaged ELF file: bad table of sections");
  std::string_view strings = contents(bytes, names);
  constexpr std::string_view wanted("moe_manifest", 13); // and its end
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr entry;
    if (!section(i, entry))
      return bad("is a damaged ELF file: bad table of sections");
    if (entry.sh_name > strings.size() ||
        strings.substr(entry.sh_name, wanted.size()) != wanted)
      continue;
    std::string_view text = contents(bytes, entry);
    return text.substr(0, text.find('\0'));
  }
  return bad("holds no manifest: no model that moe-opt compiled");
}

} // namespace

Result<std::string_view> findManifest(std::string_view bytes,
                                      const std::string &what) {
  if (bytes.substr(0, bundleMagic.size()) != bundleMagic)
    return findInElf(bytes, what);
  auto info = parseBundle(bytes, what);
  if (!info)
    return info.error();
  const BundleSection *code = info->find("code");
  if (!code)
    return {Code::InvalidFile, quote(what) + " is a bundle without code"};
  return findInElf(bytes.substr(code->offset, code->size), what);
}

} // namespace moe::rt

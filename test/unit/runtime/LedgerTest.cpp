#include "runtime/Bank/LedgerTable.h"
#include "runtime/Bundle/Manifest.h"

#include <cstring>
#include <elf.h>
#include <gtest/gtest.h>

using namespace moe::rt;

namespace {

/// An ELF file of 64 bits that has the sections "", names, and `name`.
std::string elf(const std::string &name, const std::string &contents) {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  header.e_shstrndx = 1;
  std::string names = std::string("\0", 1) + name + '\0';
  Elf64_Shdr sections[3] = {};
  sections[1].sh_type = sections[2].sh_type = SHT_PROGBITS;
  sections[1].sh_offset = sizeof(header);
  sections[1].sh_size = names.size();
  sections[2].sh_name = 1;
  sections[2].sh_offset = sizeof(header) + names.size();
  sections[2].sh_size = contents.size();
  header.e_shoff = sizeof(header) + names.size() + contents.size();
  return std::string(reinterpret_cast<char *>(&header), sizeof(header)) +
         names + contents +
         std::string(reinterpret_cast<char *>(sections), sizeof(sections));
}

} // namespace

TEST(Manifest, IsASectionOfTheCode) {
  auto found = findManifest(elf("moe_manifest", std::string("{}\0", 3)), "f");
  ASSERT_TRUE(found) << found.error().message;
  std::string file = elf("moe_manifest", std::string("{\"a\":1}\0", 8));
  found = findManifest(file, "f");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, "{\"a\":1}");
  EXPECT_EQ(findManifest(elf("moe_manifests", "{}"), "f").error().message,
            "'f' holds no manifest: no model that moe-opt compiled");
}

TEST(Manifest, DamagedFilesAreRefused) {
  const std::string good = elf("moe_manifest", "{}");
  for (size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(findManifest(good.substr(0, n), "f")) << n;
  // Whatever a byte says, the answer lies in the file.
  for (size_t i = 0; i < good.size(); ++i)
    for (int value : {0, 1, 0x7F, 0x80, 0xFF}) {
      std::string file = good;
      file[i] = static_cast<char>(value);
      if (auto found = findManifest(file, "f"); found && !found->empty()) {
        EXPECT_GE(found->data(), file.data());
        EXPECT_LE(found->data() + found->size(), file.data() + file.size());
      }
    }
  std::string narrow = good;
  narrow[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(findManifest(narrow, "f").error().code, Code::Unsupported);
}

TEST(Ledger, PrintsWhatTheManifestSays) {
  auto json = parseJson(R"({"compression": [
    {"step": "", "params": 2000000, "bytes": 8000000, "expert_bytes": 6000000,
     "active_params": 5e5, "bytes_read_per_token": 4e6, "flops_per_token": 1e6,
     "bits_per_byte": 2},
    {"step": "quantize{int4}", "params": 2000000, "bytes": 4000000,
     "expert_bytes": 1500000, "active_params": 5e5, "bytes_read_per_token": 2e6,
     "flops_per_token": 1e6, "output_error": 0.0625, "bits_per_byte": 2.125}],
   "front": [{"steps": "a", "share": 0.5, "output_error": 0.25, "front": true,
     "chosen": true, "loss": -0.5}]})");
  ASSERT_TRUE(json);
  auto lines = ledgerLines(*json);
  ASSERT_TRUE(lines) << lines.error().message;
  EXPECT_EQ(
      ledgerTable(*lines),
      "step             params/M  bytes/MB  experts/MB      %  active/M  read "
      "MB/token  MFLOP/token  output error  bits/byte     loss\n"
      "original            2.000     8.000       6.000 100.00     0.500       "
      " "
      "  4.000        1.000                   2.0000  +0.0000\n"
      "quantize{int4}      2.000     4.000       1.500  25.00     0.500       "
      " "
      "  2.000        1.000        0.0625     2.1250  +0.1250\n");
  auto front = frontLines(*json);
  ASSERT_TRUE(front) << front.error().message;
  EXPECT_EQ(frontTable(*front),
            "   bytes  output error  loss measured  recipe (* on the front, > "
            "chosen)\n  50.00%        0.2500        -0.5000 >* a\n");
}

TEST(Ledger, PrintsWhatWasRefused) {
  auto lines = refusedLines(*parseJson(R"({"front_refused": [
    {"steps": "a", "why": "layer 'x\u001b'"}, {"steps": "b", "why": "odd"},
    {"steps": "c", "why": "layer 'x\u001b'"}]})"));
  ASSERT_TRUE(lines) << lines.error().message;
  EXPECT_EQ(refusedTable(*lines), "refused: layer 'x\\x1b'\n         a\n"
                                  "         c\nrefused: odd\n         b\n");
  EXPECT_EQ(refusedTable(*refusedLines(*parseJson("{}"))), "");
  EXPECT_FALSE(refusedLines(*parseJson(R"({"front_refused": [{"why": ""}]})")));
  EXPECT_FALSE(refusedLines(
      *parseJson(R"({"front_refused": [{"steps": "", "why": 3}]})")));
}

TEST(Ledger, RoundsUpWhatCanBeAskedFor) {
  EXPECT_EQ(shareText(0.123456), "12.35%");
  EXPECT_EQ(shareText(0.1234), "12.34%");
  EXPECT_EQ(shareText(0.14), "14.00%");
  EXPECT_EQ(shareText(1), "100.00%");
  EXPECT_EQ(lossText(0.01231), "0.0124");
  EXPECT_EQ(lossText(0.0125), "0.0125");
  EXPECT_EQ(lossText(-0.01239), "-0.0123");
  for (int bytes = 1; bytes <= 1000; ++bytes) {
    double share = bytes / 1000.0 / 3;
    EXPECT_GE(std::stod(shareText(share)) / 100, share);
    EXPECT_LE(std::stod(shareText(share)) / 100, share + 1.0001e-4);
  }
}

TEST(Ledger, RefusesOtherLists) {
  for (const char *text :
       {R"({"compression": 3})", R"({"compression": [3]})",
        R"({"compression": [{"step": 3}]})",
        R"({"compression": [{"step": "", "params": "2"}]})"}) {
    auto lines = ledgerLines(*parseJson(text));
    EXPECT_FALSE(lines) << text;
    EXPECT_EQ(lines.error().message, "the manifest's 'compression' is no list "
                                     "of steps and their costs");
  }
  auto none = ledgerLines(*parseJson("{}"));
  ASSERT_TRUE(none);
  EXPECT_EQ(ledgerTable(*none), "");
}

#include "test/unit/codegen/Assembler.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace moe;
using llvm::StringRef;

#ifdef MOE_PTXAS
std::string test::assemble(const std::string &text, const std::string &arch,
                           std::string &cubin) {
  llvm::SmallString<128> source, object, report;
  auto name = [](const char *suffix, llvm::SmallString<128> &path) {
    ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("kernels", suffix, path));
  };
  name("ptx", source), name("cubin", object), name("txt", report);
  std::error_code error;
  llvm::raw_fd_ostream(source, error) << text;
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(report),
                                          StringRef(report)};
  int code = llvm::sys::ExecuteAndWait(
      MOE_PTXAS,
      {MOE_PTXAS, "-v", "-O3", "-arch=" + arch, source, "-o", object},
      std::nullopt, redirects);
  auto read = [](StringRef path) {
    auto file = llvm::MemoryBuffer::getFile(path);
    return file ? (*file)->getBuffer().str() : std::string();
  };
  std::string said = read(report);
  cubin = read(object);
  for (StringRef path :
       {StringRef(source), StringRef(object), StringRef(report)})
    llvm::sys::fs::remove(path);
  EXPECT_EQ(code, 0) << said;
  return said;
}
#endif

void test::expectClean(const std::string &said) {
  StringRef before; // names the kernel
  for (StringRef line : llvm::split(StringRef(said), '\n')) {
    if (line.contains("spill")) {
      EXPECT_TRUE(line.contains(" 0 bytes spill stores, 0 bytes spill loads"))
          << before.str() << "\n"
          << line.str();
    }
    before = line;
  }
  EXPECT_EQ(said.find("C75"), std::string::npos) << said;
  EXPECT_EQ(said.find("warning"), std::string::npos) << said;
}

std::string test::registersOf(const std::string &said,
                              const std::string &kernel) {
  size_t at = said.find("'" + kernel + "'");
  at = at == std::string::npos ? at : said.find("Used ", at);
  return at == std::string::npos ? "?" : said.substr(at + 5, 3);
}

#include "codegen/Link/Linker.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/raw_ostream.h"
#include <sys/mman.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;
using namespace moe;

extern "C" {
extern const char moe_launcher_begin[], moe_launcher_end[];
extern const char moe_library_begin[], moe_library_end[];
extern const char moe_libc_stub_begin[], moe_libc_stub_end[];
extern const char moe_libm_stub_begin[], moe_libm_stub_end[];
}

namespace {
/// A file in memory that lld can open by name.
class MemoryFile {
public:
  explicit MemoryFile(const char *name) : fd(memfd_create(name, MFD_CLOEXEC)) {}
  ~MemoryFile() {
    if (fd >= 0)
      close(fd);
  }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  bool write(ArrayRef<char> bytes) {
    if (fd < 0)
      return false;
    while (!bytes.empty()) {
      ssize_t n = ::write(fd, bytes.data(), bytes.size());
      if (n <= 0)
        return false;
      bytes = bytes.drop_front(n);
    }
    return true;
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd); }

private:
  int fd;
};
} // namespace

// The section holds one line of real bytes, so that the linker gives all of it
// room in the file; what is declared without bytes becomes a hole.
std::string moe::weightsSection(uint64_t size) {
  return formatv(R"(
.section .lrodata.moe,"alR",@progbits
.balign 4096
.ascii "moe-opt packed weights"
.section .lrodata.moe.data,"alR",@nobits
.balign 4096
.globl moert_weights_begin
.hidden moert_weights_begin
moert_weights_begin:
.zero {0}
.globl moert_weights_end
.hidden moert_weights_end
moert_weights_end:
.section .lrodata.moe.end,"alR",@progbits
.balign 64
.ascii "end of packed weights"
.text
)",
                 size);
}

/// The file range between two symbols.
static Expected<LinkedFile> findWeights(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, false, false);
  if (!buffer)
    return createStringError(buffer.getError(), "cannot read " + path);
  auto object = object::ELFObjectFile<object::ELF64LE>::create(
      (*buffer)->getMemBufferRef());
  if (!object)
    return object.takeError();
  LinkedFile result;
  result.path = path.str();
  uint64_t begin = 0, end = 0, offset = 0;
  for (const object::ELFSymbolRef &symbol : object->symbols()) {
    Expected<StringRef> name = symbol.getName();
    if (!name) {
      consumeError(name.takeError());
      continue;
    }
    if (*name != "moert_weights_begin" && *name != "moert_weights_end")
      continue;
    Expected<uint64_t> address = symbol.getAddress();
    if (!address)
      return address.takeError();
    (*name == "moert_weights_begin" ? begin : end) = *address;
    Expected<object::section_iterator> section = symbol.getSection();
    if (!section)
      return section.takeError();
    if (*name == "moert_weights_begin" && *section != object->section_end()) {
      object::ELFSectionRef where(**section);
      if (where.getType() == ELF::SHT_NOBITS)
        return createStringError("the linker gave the weights no room");
      offset = where.getOffset() + (*address - where.getAddress());
    }
  }
  result.weightsOffset = offset;
  result.weightsSize = end - begin;
  return result;
}

uint64_t moe::linkedSize(ArrayRef<char> object, LinkKind kind) {
  return object.size() + (kind == LinkKind::Library
                              ? moe_library_end - moe_library_begin
                              : moe_launcher_end - moe_launcher_begin);
}

Expected<LinkedFile> moe::linkModel(ArrayRef<char> object, StringRef path,
                                    LinkKind kind, StringRef libraryName) {
  bool library = kind == LinkKind::Library;
  MemoryFile model("model.o"), runtime("runtime.o"), libc("libc.so"),
      libm("libm.so"), exports("exports");
  std::string alias = ("moe_" + libraryName + "_api").str();
  // A library called model.so has its name already.
  bool hasAlias = alias != "moe_model_api";
  std::string script = "{ global: moe_model_api; " +
                       (hasAlias ? alias + "; " : "") + "local: *; };";
  auto embedded = [](const char *begin, const char *end) {
    return ArrayRef<char>(begin, end - begin);
  };
  if (!model.write(object) ||
      !runtime.write(library
                         ? embedded(moe_library_begin, moe_library_end)
                         : embedded(moe_launcher_begin, moe_launcher_end)) ||
      !libc.write(embedded(moe_libc_stub_begin, moe_libc_stub_end)) ||
      !libm.write(embedded(moe_libm_stub_begin, moe_libm_stub_end)) ||
      !exports.write(ArrayRef<char>(script.data(), script.size())))
    return createStringError(std::error_code(errno, std::generic_category()),
                             "cannot make files in memory");

  std::vector<std::string> arguments{"ld.lld",
                                     "--eh-frame-hdr",
                                     "--gc-sections",
                                     "--hash-style=gnu",
                                     "--build-id=none",
                                     "-z",
                                     "relro",
                                     "-z",
                                     "now",
                                     "-z",
                                     "noexecstack",
                                     "--threads=1",
                                     "--strip-debug",
                                     "-o",
                                     path.str()};
  if (library) {
    arguments.push_back("-shared");
    if (hasAlias)
      arguments.push_back("--defsym=" + alias + "=moe_model_api");
    arguments.push_back("--version-script");
    arguments.push_back(exports.path());
  } else {
    arguments.push_back("-pie");
    arguments.push_back("-dynamic-linker");
    arguments.push_back("/lib64/ld-linux-x86-64.so.2");
  }
  for (const MemoryFile *file : {&runtime, &model, &libm, &libc})
    arguments.push_back(file->path());
  std::vector<const char *> pointers;
  for (const std::string &argument : arguments)
    pointers.push_back(argument.c_str());
  std::string messages;
  raw_string_ostream stream(messages);
  // --threads=1 holds for the whole process unless it is taken back.
  auto strategy = parallel::strategy;
  lld::Result result =
      lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  parallel::strategy = strategy;
  if (result.retCode != 0) {
    StringRef why = StringRef(messages).trim();
    why.consume_front("ld.lld: error: ");
    return createStringError("cannot link '" + path + "': " + why);
  }
  return findWeights(path);
}

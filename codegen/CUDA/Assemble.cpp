#include "codegen/CUDA/Assemble.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cerrno>
#include <cstdlib>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;
using namespace moe;

static StringRef environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

cuda::Assembler cuda::findAssembler() {
  Assembler found;
  auto note = [&](const Twine &place) {
    found.places += (found.places.empty() ? "" : ", ") + place.str();
  };
  if (StringRef own = environment("MOE_PTXAS"); !own.empty()) {
    note("MOE_PTXAS ('" + own + "')");
    // One with a slash is not looked for in PATH.
    if (auto program = sys::findProgramByName(own);
        program && sys::fs::can_execute(*program))
      found.path = *program;
    return found;
  }
  note("MOE_PTXAS (not set)");
  note("PATH");
  auto look = [&](ArrayRef<StringRef> folders) {
    if (auto program = sys::findProgramByName("ptxas", folders);
        found.path.empty() && program)
      found.path = *program;
  };
  look({});
  for (const char *name : {"CUDA_HOME", "CUDA_PATH"}) {
    StringRef root = environment(name);
    note(root.empty() ? Twine(name) + " (not set)"
                      : Twine(name) + " ('" + root + "')");
    SmallString<128> folder(root);
    sys::path::append(folder, "bin");
    if (!root.empty())
      look({folder});
  }
  note("/usr/local/cuda/bin");
  look({"/usr/local/cuda/bin"});
  return found;
}

namespace {
/// A file without a name, gone when nobody has it open. Children have it, too.
class MemoryFile {
public:
  explicit MemoryFile(const char *name) : fd(memfd_create(name, 0)) {}
  ~MemoryFile() {
    if (fd >= 0)
      close(fd);
  }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  /// Under which this process and children open it.
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd); }

  bool write(StringRef text) const {
    while (!text.empty()) {
      ssize_t put = ::write(fd, text.data(), text.size());
      if (put < 0 && errno != EINTR)
        return false;
      text = text.drop_front(put > 0 ? static_cast<size_t>(put) : 0);
    }
    return fd >= 0;
  }

  std::string read() const {
    struct stat info;
    std::string text(fstat(fd, &info) == 0 ? info.st_size : 0, '\0');
    size_t size = 0;
    while (size < text.size()) {
      ssize_t got = pread(fd, text.data() + size, text.size() - size, size);
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        break;
      size += static_cast<size_t>(got);
    }
    text.resize(size);
    return text;
  }

private:
  int fd;
};
} // namespace

/// The first line that says something; paths of `source` mean nothing later.
static std::string firstLine(StringRef said, StringRef source) {
  StringRef line = said.ltrim().split('\n').first.rtrim();
  auto [before, after] = line.split(source);
  return before == line ? line.str() : (before + "kernels.ptx" + after).str();
}

Expected<std::string> cuda::assemble(const Assembler &assembler, StringRef ptx,
                                     StringRef architecture) {
  MemoryFile source("kernels.ptx"), object("kernels.cubin"), report("report");
  if (!source.write(ptx) || !object.write("") || !report.write(""))
    return createStringError("cannot keep " + Twine(ptx.size()) +
                             " bytes of PTX in memory for " + assembler.path);
  std::string from = source.path(), to = object.path(), words = report.path();
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(words),
                                          StringRef(words)};
  std::string why;
  std::string target = ("-arch=" + architecture).str();
  int code =
      sys::ExecuteAndWait(assembler.path, {"ptxas", target, from, "-o", to},
                          std::nullopt, redirects, 0, 0, &why);
  std::string cubin = object.read();
  std::string said = firstLine(report.read(), from);
  auto failed = [&](const Twine &reason) {
    return createStringError("'" + assembler.path + "': " + reason);
  };
  if (code < 0)
    return failed(why);
  if (code != 0)
    return failed(said.empty() ? "exit code " + Twine(code) : Twine(said));
  if (!StringRef(cubin).starts_with("\x7f"
                                    "ELF"))
    return failed("it wrote no cubin");
  return cubin;
}

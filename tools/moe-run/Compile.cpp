#include "tools/moe-run/Compile.h"

#include "runtime/Core/DeviceRequest.h"
#include "runtime/Core/File.h"
#include "runtime/Core/Text.h"
#include "runtime/Device/Device.h"
#include "runtime/Runner/Load.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace moe::rt {
namespace {

bool endsWith(const std::string &text, std::string_view end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// With a slash at the end.
std::string ownFolder() {
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  std::string path(self, length > 0 ? static_cast<size_t>(length) : 0);
  return path.substr(0, path.rfind('/') + 1);
}

/// What the devices of the machine want, of those that may be meant. Where
/// there are none, the session says so.
std::string targetFor(const std::string &device) {
  const std::string any = "cpu,cuda:sm_80"; // later GPUs run it, too
  if (device == "emu")
    return any;
  Result<DeviceRequest> request = parseDevice(device);
  if (!request || request->kind == DeviceRequest::Cpu)
    return "cpu";
  const std::string none = request->kind == DeviceRequest::Auto ? "cpu" : any;
  auto driver = loadDriver();
  if (!driver)
    return none;
  auto devices = listDevices(**driver);
  if (!devices)
    return none;
  for (const DeviceInfo &info : *devices)
    if (request->ordinal < 0 ? info.atLeast(8, 0)
                             : request->ordinal == info.ordinal)
      return info.major == 9 && info.minor == 0 ? "cpu,cuda:sm_90a" : any;
  return none;
}

Status compile(const std::string &input, const std::string &device,
               const std::string &output) {
  std::string compiler = ownFolder() + "moe-opt";
  // A file name may start with a dash.
  std::string source = input[0] == '-' ? "./" + input : input;
  const std::string target = targetFor(device);
  const char *arguments[] = {compiler.c_str(), source.c_str(), "--target",
                             target.c_str(),   "-o",           output.c_str(),
                             nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Our standard output is the model's.
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child;
  int error = posix_spawn(&child, compiler.c_str(), &actions, nullptr,
                          const_cast<char **>(arguments), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error)
    return {Code::Unsupported, quote(input) + " needs compiling, but " +
                                   systemError("run", compiler, error).message};
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
    return {};
  return {Code::InvalidFile, "moe-opt could not compile " + quote(input)};
}

} // namespace

std::string emulatorPath() {
  return ownFolder() + "../lib/libmoe_cuda_emulator.so";
}

Result<const moe_api *> compileOrLoad(const Options &options) {
  const std::string &path = options.model;
  if (!endsWith(path, ".onnx"))
    return loadModel(path);
  if (access(path.c_str(), R_OK) != 0)
    return systemError("read", path, errno);
  const char *temporary = std::getenv("TMPDIR");
  std::string folder =
      std::string(temporary && *temporary ? temporary : "/tmp") +
      "/moe-run-XXXXXX";
  if (!mkdtemp(folder.data()))
    return systemError("create", folder, errno);
  // The model is named after its file.
  size_t start = path.find_last_of('/') + 1;
  std::string stem = folder + "/" + path.substr(start, path.size() - start - 5);
  std::string library = stem + ".so", header = stem + ".h";
  RemoveOnInterrupt removeFolder(folder), removeLibrary(library),
      removeHeader(header);
  Status status = compile(path, options.device, library);
  Result<const moe_api *> api =
      status.ok() ? loadModel(library) : Result<const moe_api *>(status);
  unlink(library.c_str());
  unlink(header.c_str());
  rmdir(folder.c_str());
  return api;
}

} // namespace moe::rt

// moe-cuda-check: does on a GPU what the tests did in the emulator, and
// compares.
#include "runtime/Core/Text.h"
#include "runtime/Device/DeviceChoice.h"
#include "tools/moe-cuda-check/RunCase.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <map>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

using namespace moe;
using namespace moe::check;
using rt::Result, rt::Status;

static const char usage[] =
    "usage: moe-cuda-check FOLDER [--arch ARCH] [--every N]\n"
    "       moe-cuda-check --device\n"
    "Runs the recorded cases (*.case) in FOLDER on the first GPU and prints a\n"
    "table in Markdown. Exit code 3: something is not as the emulator had it.\n"
    "  --arch ARCH   whose kernels: sm_80 or sm_90a (the device's)\n"
    "  --every N     every N-th case alone\n"
    "  --device      prints which GPU it is, no more\n";

namespace {
/// A case may take as long; then its kernel hangs.
constexpr unsigned kSeconds = 60;

int fail(const std::string &why, int code = 1) {
  fflush(stdout);
  fprintf(stderr, "moe-cuda-check: error: %s\n", why.c_str());
  return code;
}

/// Sums over the cases of a test.
struct Totals {
  int cases = 0, wrong = 0, leftOut = 0;
  unsigned long long numbers = 0, sameBits = 0;
  double worst = 0;
};
} // namespace

static std::vector<std::string> casesIn(const std::string &folder,
                                        size_t every) {
  std::vector<std::string> names;
  DIR *listing = opendir(folder.c_str());
  while (dirent *entry = listing ? readdir(listing) : nullptr) {
    std::string name = entry->d_name;
    if (name.size() > 5 && name.compare(name.size() - 5, 5, ".case") == 0)
      names.push_back(name.substr(0, name.size() - 5));
  }
  if (listing)
    closedir(listing);
  std::sort(names.begin(), names.end());
  std::vector<std::string> chosen;
  for (size_t i = 0; i < names.size(); i += every)
    chosen.push_back(names[i]);
  return chosen;
}

static Result<std::unique_ptr<rt::Device>> openDevice() {
  rt::DeviceRequest request;
  request.kind = rt::DeviceRequest::Cuda;
  auto choice = rt::chooseDevice(request);
  if (!choice)
    return choice.error();
  return std::move(choice->device);
}

/// Runs cases from number `first` on, a line for each on `to`. Ends early, with
/// exit code 1, where a failure leaves the device unusable.
static int serve(const std::string &folder,
                 const std::vector<std::string> &names, size_t first,
                 std::string arch, FILE *to) {
  auto opened = openDevice();
  if (!opened) {
    fprintf(to, "none %s\n", opened.error().message.c_str());
    return 0;
  }
  rt::Device &device = **opened;
  const rt::DeviceInfo &info = device.info();
  if (arch.empty())
    arch = info.major == 9 && info.minor == 0 ? "sm_90a" : "sm_80";
  fprintf(to, "device %s %s\n", arch.c_str(), rt::describeDevice(info).c_str());
  // Cases of a test often have the same kernels.
  std::string loaded;
  rt::Module module;
  for (size_t i = first; i < names.size(); ++i) {
    alarm(kSeconds);
    fprintf(to, "start %zu\n", i);
    fflush(to);
    auto done = [&](const Outcome &outcome, const char *what) {
      fprintf(to, "%s %d %llu %llu %g %s\n", what, outcome.right,
              static_cast<unsigned long long>(outcome.numbers),
              static_cast<unsigned long long>(outcome.sameBits), outcome.worst,
              outcome.note.c_str());
      fflush(to);
    };
    auto failed = [&](const Status &why) {
      Outcome outcome;
      outcome.right = false;
      outcome.note = why.message;
      done(outcome, "done");
      return 1;
    };
    auto test = readCase(folder, names[i]);
    if (!test)
      return failed(test.error());
    const std::string *file = ptxFor(*test, arch, info.major, info.minor);
    if (!file) {
      Outcome outcome;
      for (const auto &[other, name] : test->ptx)
        outcome.note += (outcome.note.empty() ? "" : " and ") + other;
      done(outcome, "left");
      continue;
    }
    if (loaded != *file) {
      auto ptx = readBytes(folder + "/" + *file);
      if (!ptx)
        return failed(ptx.error());
      auto made = rt::Module::load(device, names[i], *ptx);
      if (!made)
        return failed(made.error());
      module = std::move(*made);
      loaded = *file;
    }
    auto outcome = runCase(device, *test, module);
    if (!outcome)
      return failed(outcome.error());
    done(*outcome, "done");
  }
  return 0;
}

namespace {
/// Starts children, which may die, until all cases are done.
class Parent {
public:
  Parent(std::string folder, std::string arch, size_t every)
      : folder(std::move(folder)), arch(std::move(arch)),
        names(casesIn(this->folder, every)) {}
  int run();

private:
  Status runSome();
  void take(const char *line);
  void note(const std::string &name, const std::string &why) {
    failures.push_back("- " + name + ": " + why);
  }
  /// The test that a case is of.
  static std::string testOf(const std::string &name) {
    return name.substr(0, name.rfind('.'));
  }
  void print();

  std::string folder, arch;
  std::vector<std::string> names, failures;
  std::set<std::string> needed; ///< what cases that were left out are for
  std::map<std::string, Totals> tests;
  std::string device, missing; ///< what it is, or why there is none
  size_t next = 0;
  bool running = false;
};
} // namespace

void Parent::take(const char *line) {
  size_t number;
  int right;
  unsigned long long numbers, same;
  double worst;
  int rest = 0;
  if (!strncmp(line, "none ", 5)) {
    missing = line + 5;
  } else if (!strncmp(line, "device ", 7)) {
    device = line + 7;
  } else if (sscanf(line, "start %zu", &number) == 1) {
    next = number;
    running = true;
  } else if (sscanf(line + 4, " %d %llu %llu %lg %n", &right, &numbers, &same,
                    &worst, &rest) == 4) {
    Totals &totals = tests[testOf(names[next])];
    running = false;
    if (!strncmp(line, "left", 4)) {
      ++totals.leftOut;
      needed.insert(line + 4 + rest);
    } else {
      ++totals.cases;
      totals.wrong += !right;
      totals.numbers += numbers;
      totals.sameBits += same;
      totals.worst = std::max(totals.worst, worst);
      if (!right)
        note(names[next], line + 4 + rest);
    }
    ++next;
  }
}

Status Parent::runSome() {
  int ends[2];
  if (pipe(ends) != 0)
    return {rt::Code::Io, strerror(errno)};
  fflush(stdout);
  pid_t child = fork();
  if (child < 0)
    return {rt::Code::Io, strerror(errno)};
  if (child == 0) {
    close(ends[0]);
    FILE *to = fdopen(ends[1], "w");
    int code = serve(folder, names, next, arch, to);
    fclose(to);
    _exit(code);
  }
  close(ends[1]);
  FILE *from = fdopen(ends[0], "r");
  char line[4096];
  while (fgets(line, sizeof line, from)) {
    line[strcspn(line, "\n")] = 0;
    take(line);
  }
  fclose(from);
  int status = 0;
  waitpid(child, &status, 0);
  if (!missing.empty())
    return {rt::Code::Unsupported, missing};
  if (running) {
    // It died in the middle of a case.
    Totals &totals = tests[testOf(names[next])];
    ++totals.cases;
    ++totals.wrong;
    note(names[next],
         WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
             ? rt::text("not done after ", kSeconds, " s")
             : rt::text("the program ended (status ", status, ")"));
    running = false;
    ++next;
  }
  return {};
}

void Parent::print() {
  printf("Kernels of %s\n\n| test | cases | wrong | numbers | of them with the "
         "emulator's bits | worst error, of what is allowed |\n| --- | --- | "
         "--- | --- | --- | --- |\n",
         device.c_str());
  int leftOut = 0;
  for (const auto &[name, totals] : tests) {
    leftOut += totals.leftOut;
    if (!totals.cases)
      continue;
    printf("| %s | %d | %d | %llu | %.1f %% | %.2f |\n", name.c_str(),
           totals.cases, totals.wrong, totals.numbers,
           totals.numbers ? 100.0 * static_cast<double>(totals.sameBits) /
                                static_cast<double>(totals.numbers)
                          : 100.0,
           totals.worst);
  }
  std::string archs;
  for (const std::string &arch : needed)
    archs += (archs.empty() ? "" : ", ") + arch;
  if (leftOut)
    printf("\nCases left out, which have kernels for %s alone: %d\n",
           archs.c_str(), leftOut);
  if (!failures.empty())
    printf("\nWrong:\n\n");
  for (const std::string &failure : failures)
    printf("%s\n", failure.c_str());
}

int Parent::run() {
  if (names.empty())
    return fail("no cases in " + rt::quote(folder) +
                ": tools/check --cuda records them");
  while (next < names.size()) {
    Status status = runSome();
    if (!status.ok())
      return fail(status.message);
  }
  print();
  return failures.empty() ? 0
                          : fail(rt::text(failures.size(), " of ", names.size(),
                                          " cases are wrong"),
                                 3);
}

/// Says which GPU there is.
static int printDevice() {
  auto device = openDevice();
  if (!device)
    return fail(device.error().message);
  const rt::Driver &driver = (*device)->driver();
  printf("%s; CUDA %d.%d\n", rt::describeDevice((*device)->info()).c_str(),
         driver.version / 1000, driver.version % 1000 / 10);
  return 0;
}

int main(int argc, char **argv) {
  std::string folder, arch;
  long every = 1;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--help")
      return fputs(usage, stdout), 0;
    if (word == "--device" && argc == 2)
      return printDevice();
    if (word == "--arch" && i + 1 < argc)
      arch = argv[++i];
    else if (word == "--every" && i + 1 < argc)
      every = strtol(argv[++i], nullptr, 10);
    else if (word[0] != '-' && folder.empty())
      folder = word;
    else
      return fail("unknown argument " + rt::quote(word) + "\n" + usage, 2);
  }
  if (folder.empty() || every < 1 ||
      (!arch.empty() && arch != "sm_80" && arch != "sm_90a"))
    return fail(std::string("a folder is needed; --arch takes sm_80 or sm_90a, "
                            "--every a number from 1\n") +
                    usage,
                2);
  return Parent(folder, arch, static_cast<size_t>(every)).run();
}

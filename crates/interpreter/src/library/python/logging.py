import re
import time

__all__ = (
    "CRITICAL", "DEBUG", "ERROR", "FATAL", "Filter", "Formatter", "Handler", "INFO", "LogRecord", "Logger", "NOTSET", "NullHandler",
    "StreamHandler", "WARN", "WARNING", "addLevelName", "basicConfig", "captureWarnings", "critical", "debug", "disable",
    "error", "exception", "fatal", "getLevelName", "getLogger", "info", "log", "root", "warn", "warning",
)

CRITICAL = FATAL = 50
ERROR = 40
WARNING = WARN = 30
INFO = 20
DEBUG = 10
NOTSET = 0

_names = {50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET"}
_disabled = [0]


def addLevelName(level, name):
    _names[level] = name


def getLevelName(level):
    if level in _names:
        return _names[level]
    for number, name in _names.items():
        if name == level:
            return number
    return f"Level {level}"


def _level(level):
    if isinstance(level, int):
        return level
    if isinstance(level, str):
        for number, name in _names.items():
            if name == level:
                return number
        raise ValueError(f"Unknown level: {level!r}")
    raise TypeError(f"Level not an integer or a valid string: {level!r}")


# What records have where there are processes and threads.
_UNKNOWN = ("process", "thread", "taskName")
_began = time.time()


def _lacks(name):
    return f"logging: the field '{name}' is not supported by this server, which has no processes or threads"


class LogRecord:
    def __init__(self, name, level, pathname, lineno, msg, args, exc_info, func=None, sinfo=None, **kwargs):
        if args and len(args) == 1 and isinstance(args[0], dict) and args[0]:
            args = args[0]
        self.name, self.levelno, self.levelname, self.msg, self.args = name, level, getLevelName(level), msg, args
        self.exc_info, self.pathname, self.lineno, self.funcName, self.stack_info = exc_info, pathname, lineno, func, sinfo
        self.filename = pathname.rpartition("/")[2]
        self.module = self.filename.rpartition(".")[0] or self.filename
        self.created = time.time()
        self.msecs, self.relativeCreated = self.created * 1000 // 1 % 1000, (self.created - _began) * 1000
        self.threadName, self.processName = "MainThread", "MainProcess"
        self.__dict__.update(kwargs)

    def __getattr__(self, name):
        if name in _UNKNOWN:
            raise AttributeError(_lacks(name))
        raise AttributeError(f"'LogRecord' object has no attribute '{name}'")

    def __repr__(self):
        return f'<LogRecord: {self.name}, {self.levelno}, {self.pathname}, {self.lineno}, "{self.msg}">'

    def getMessage(self):
        text = str(self.msg)
        return text % self.args if self.args else text


class Filter:
    def __init__(self, name=""):
        self.name = name

    def filter(self, record):
        return not self.name or record.name == self.name or record.name.startswith(self.name + ".")


class Formatter:
    converter = time.localtime

    def __init__(self, fmt=None, datefmt=None, style="%", validate=True, *, defaults=None):
        if style not in ("%", "{", "$"):
            raise ValueError("Style must be one of: %,{,$")
        for name in _UNKNOWN:
            field = {"%": rf"%\({name}\)", "{": rf"\{{{name}[}}:!]", "$": rf"\$\{{?{name}\b"}[style]
            if re.search(field, fmt or ""):
                raise ValueError(_lacks(name))
        self._style = style
        self._fmt = fmt or {"%": "%(message)s", "{": "{message}", "$": "${message}"}[style]
        self.datefmt = datefmt

    def usesTime(self):
        return {"%": "%(asctime)", "{": "{asctime", "$": "asctime"}[self._style] in self._fmt

    def formatTime(self, record, datefmt=None):
        # One that belongs to the class is called as it is there: Python's own are no methods of it.
        parts = self.__dict__.get("converter", type(self).converter)(record.created)
        if datefmt:
            return time.strftime(datefmt, parts)
        return f"{time.strftime('%Y-%m-%d %H:%M:%S', parts)},{int(record.msecs):03d}"

    def format(self, record):
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        if self._style == "{":
            text = self._fmt.format(**record.__dict__)
        elif self._style == "$":
            text = self._fmt
            for name, value in record.__dict__.items():
                text = text.replace("${" + name + "}", str(value)).replace("$" + name, str(value))
        else:
            text = self._fmt % record.__dict__
        if record.exc_info:
            text = f"{text}\n{_traceback(record.exc_info).rstrip()}"
        return text


class _Filterer:
    def addFilter(self, filter):
        if filter not in self.filters:
            self.filters.append(filter)

    def removeFilter(self, filter):
        if filter in self.filters:
            self.filters.remove(filter)

    def filter(self, record):
        return all([f.filter(record) if hasattr(f, "filter") else f(record) for f in self.filters])


class Handler(_Filterer):
    def __init__(self, level=NOTSET):
        self.level, self.filters, self.formatter = _level(level), [], None

    def setLevel(self, level):
        self.level = _level(level)

    def setFormatter(self, fmt):
        self.formatter = fmt

    def format(self, record):
        return (self.formatter or Formatter()).format(record)

    def handle(self, record):
        shown = self.filter(record)
        if shown:
            self.emit(record)
        return shown

    def emit(self, record):
        raise NotImplementedError("emit must be implemented by Handler subclasses")

    def flush(self):
        pass

    def close(self):
        pass


class StreamHandler(Handler):
    """Prints, unless it is given something to write to."""

    def __init__(self, stream=None):
        super().__init__()
        self.stream = stream

    def emit(self, record):
        if self.stream is None:
            _tell(self.format(record) + "\n")
        else:
            self.stream.write(self.format(record) + "\n")


class NullHandler(Handler):
    def emit(self, record):
        pass


class Logger(_Filterer):
    def __init__(self, name, level=NOTSET):
        self.name, self.level, self.parent, self.propagate = name, _level(level), None, True
        self.handlers, self.filters, self.disabled = [], [], False

    def setLevel(self, level):
        self.level = _level(level)

    def getEffectiveLevel(self):
        logger = self
        while logger is not None:
            if logger.level:
                return logger.level
            logger = logger.parent
        return NOTSET

    def isEnabledFor(self, level):
        return not self.disabled and level > _disabled[0] and level >= self.getEffectiveLevel()

    def addHandler(self, hdlr):
        if hdlr not in self.handlers:
            self.handlers.append(hdlr)

    def removeHandler(self, hdlr):
        if hdlr in self.handlers:
            self.handlers.remove(hdlr)

    def hasHandlers(self):
        logger = self
        while logger is not None:
            if logger.handlers:
                return True
            logger = logger.parent if logger.propagate else None
        return False

    def getChild(self, suffix):
        return getLogger(suffix if self is root else f"{self.name}.{suffix}")

    def _log(self, level, msg, args, exc_info=None, extra=None, stack_info=False, stacklevel=1):
        if stack_info:
            raise ValueError("logging: 'stack_info' is not supported by this server")
        pathname, lineno, _, function = _place(max(stacklevel, 1) - 1)
        if isinstance(exc_info, tuple):
            exc_info = exc_info[1]
        elif exc_info and not isinstance(exc_info, BaseException):
            exc_info = _handled()
        record = LogRecord(self.name, level, pathname, lineno, msg, args, exc_info or None, function)
        for name, value in (extra or {}).items():
            setattr(record, name, value)
        self.handle(record)

    def handle(self, record):
        if self.disabled or not self.filter(record):
            return
        logger, found = self, False
        while logger is not None:
            for handler in logger.handlers:
                found = True
                if record.levelno >= handler.level:
                    handler.handle(record)
            logger = logger.parent if logger.propagate else None
        if not found and record.levelno >= WARNING:
            _tell(record.getMessage() + "\n")

    def log(self, level, msg, *args, **kwargs):
        if not isinstance(level, int):
            raise TypeError("level must be an integer")
        if self.isEnabledFor(level):
            self._log(level, msg, args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.log(DEBUG, msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.log(INFO, msg, *args, **kwargs)

    def warning(self, msg, *args, **kwargs):
        self.log(WARNING, msg, *args, **kwargs)

    warn = warning

    def error(self, msg, *args, **kwargs):
        self.log(ERROR, msg, *args, **kwargs)

    def exception(self, msg, *args, exc_info=True, **kwargs):
        self.log(ERROR, msg, *args, exc_info=exc_info, **kwargs)

    def critical(self, msg, *args, **kwargs):
        self.log(CRITICAL, msg, *args, **kwargs)

    fatal = critical

    def __repr__(self):
        kind = "RootLogger" if self is root else "Logger"
        return f"<{kind} {self.name} ({getLevelName(self.getEffectiveLevel())})>"


root = Logger("root", WARNING)
_loggers = {}


def getLogger(name=None):
    if not name or name == root.name:
        return root
    if name not in _loggers:
        logger = _loggers[name] = Logger(name)
        above = name
        logger.parent = root
        while "." in above:
            above = above.rpartition(".")[0]
            if above in _loggers:
                logger.parent = _loggers[above]
                break
        for other, known in _loggers.items():
            if other.startswith(name + ".") and (known.parent is root or name.startswith(known.parent.name + ".")):
                known.parent = logger
    return _loggers[name]


def basicConfig(*, filename=None, format=None, datefmt=None, style="%", level=None, stream=None, handlers=None,
                force=False, **of_a_file):
    if filename is not None:
        raise ValueError("logging to a file is not supported by this server: lines are printed")
    stray = ", ".join(name for name in of_a_file if name not in ("filemode", "encoding", "errors"))
    if stray:
        raise ValueError(f"Unrecognised argument(s): {stray}")
    if stream is not None and handlers is not None:
        raise ValueError("'stream' or 'filename' should not be specified together with 'handlers'")
    if force:
        root.handlers = []
    if not root.handlers:
        for handler in handlers or [StreamHandler(stream)]:
            if handler.formatter is None:
                default = {"%": "%(levelname)s:%(name)s:%(message)s", "{": "{levelname}:{name}:{message}",
                           "$": "${levelname}:${name}:${message}"}[style]
                handler.setFormatter(Formatter(format or default, datefmt, style))
            root.addHandler(handler)
        if level is not None:
            root.setLevel(level)


def disable(level=CRITICAL):
    _disabled[0] = level


def captureWarnings(capture):
    pass


def _through_root(name):
    def function(msg, *args, **kwargs):
        if not root.handlers:
            basicConfig()
        getattr(root, name)(msg, *args, **kwargs)

    return function


debug = _through_root("debug")
info = _through_root("info")
warning = warn = _through_root("warning")
error = _through_root("error")
exception = _through_root("exception")
critical = fatal = _through_root("critical")


def log(level, msg, *args, **kwargs):
    if not root.handlers:
        basicConfig()
    root.log(level, msg, *args, **kwargs)

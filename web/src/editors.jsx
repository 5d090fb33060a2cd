import { useGraphiQL } from '@graphiql/react';
import { useEffect } from 'react';

const NAMES = {
  queryEditor: 'Operations',
  variableEditor: 'Variables',
  headerEditor: 'Headers',
  responseEditor: 'Response',
};

/** What GraphiQL leaves out: each editor's name, and a view that follows a subscription. */
export function Editors() {
  return (
    <>
      {Object.keys(NAMES).map((editor) => (
        <Named key={editor} editor={editor} />
      ))}
      <Following />
    </>
  );
}

function Named({ editor }) {
  const instance = useGraphiQL((state) => state[editor]);
  useEffect(() => instance?.updateOptions({ ariaLabel: NAMES[editor] }), [editor, instance]);
  return null;
}

function Following() {
  const response = useGraphiQL((state) => state.responseEditor);
  const running = useGraphiQL((state) => state.subscription !== null);
  useEffect(() => {
    if (!running) return undefined;
    const watch = response.onDidChangeModelContent(() =>
      response.revealLine(response.getModel().getLineCount()),
    );
    return () => watch.dispose();
  }, [response, running]);
  return null;
}
